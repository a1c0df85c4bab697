//! Random loss, in random order, whatever the gateway is called: everybody is shown everything once, and what
//! is said is taken once.

use stentor_cluster::GatewayMessage;

use crate::{
    peers::{Second, Widget, until},
    town::{Dice, TownRig},
};

/// Schedules in one run of the tests; `GATEWAY_SEED` tries a single one.
const SEEDS: u64 = 40;
/// Things that happen in one schedule.
const STEPS: u64 = 80;

struct Story {
    rig: TownRig,
    dice: Dice,
    widgets: Vec<(Widget, Vec<String>)>,
    seconds: Vec<(Second, Vec<String>)>,
    acks: Vec<tokio::task::JoinHandle<()>>,
    spoken: Vec<String>,
    name: u64,
    /// Names that owners have not given up yet.
    former: Vec<u64>,
}

impl Story {
    async fn begin(seed: u64) -> Self {
        let rig = TownRig::new(seed).await;
        let mut story = Self {
            rig,
            dice: Dice(!seed),
            widgets: Vec::new(),
            seconds: Vec::new(),
            acks: Vec::new(),
            spoken: Vec::new(),
            name: 1,
            former: Vec::new(),
        };
        for number in 0..2 {
            let widget = Widget::join(&story.rig, number + 1, "s-1").await;
            story.widgets.push((widget, Vec::new()));
        }
        for number in 0..2 {
            // The name that the gateway gives the owner for it.
            story.rig.town.with(|state| state.alias("v2:s-1", "s-1"));
            let second = Second::open(&story.rig, number + 1, "s-1").await;
            story.seconds.push((second, Vec::new()));
        }
        story.rig.town.with(|state| {
            state.takes = std::time::Duration::from_millis(3);
            state.fanout_lost = 40;
            state.answers_lost = 10;
            state.unavailable = 10;
        });
        story
    }

    async fn step(&mut self, step: u64) {
        let town = std::sync::Arc::clone(&self.rig.town);
        match self.dice.below(100) {
            0..40 => {
                let text = format!("bot {step}");
                town.with(|state| {
                    let session = state.session("s-1");
                    state.bot_says(session, &text);
                });
                self.spoken.push(text);
            }
            40..60 => {
                let at = self.dice.below(self.widgets.len() as u64) as usize;
                let (widget, said) = &mut self.widgets[at];
                let text = format!("widget {at} {step}");
                widget.say(&text).await;
                said.push(text);
            }
            60..72 => {
                let at = self.dice.below(self.seconds.len() as u64) as usize;
                let (second, said) = &mut self.seconds[at];
                let text = format!("second {at} {step}");
                self.acks.push(second.say(&text));
                said.push(text);
            }
            72..80 => town.with(|state| state.tell_heads()),
            80..87 => town.with(|state| state.tell(GatewayMessage::Missed)),
            87..90 => self.let_go(step).await,
            90..94 => {
                self.former.push(self.name);
                self.name += 1;
                // What is fanned out before it hears under the new name is lost.
                town.with(|state| state.rename(self.name));
            }
            _ => {
                // Owners find out sooner or later, even that the present name is gone.
                if !self.former.is_empty() {
                    let at = self.dice.below(self.former.len() as u64) as usize;
                    let name = self.former.swap_remove(at);
                    town.with(|state| state.lose(stentor_types::GatewayId(name)));
                }
            }
        }
        let pause = [0, 1, 5, 100, 3_000][self.dice.below(5) as usize];
        tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
    }

    /// Messages are taken, their answers are lost, and owners give the gateway up before it has another name.
    async fn let_go(&mut self, step: u64) {
        self.rig.town.with(|state| state.answers_lost = 100);
        for (at, (widget, said)) in self.widgets.iter_mut().enumerate() {
            let text = format!("widget {at} {step}");
            widget.say(&text).await;
            said.push(text);
        }
        let pause = self.dice.below(12);
        tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
        let gone = self.name;
        self.name += 1;
        self.rig.town.with(|state| {
            state.lose(stentor_types::GatewayId(gone));
            state.answers_lost = 10;
            state.rename(self.name);
        });
    }

    /// The weather clears; then everybody has everything.
    async fn end(self) {
        self.rig.town.with(|state| {
            (state.fanout_lost, state.answers_lost, state.unavailable) = (0, 0, 0);
        });
        for ack in self.acks {
            ack.await.unwrap();
        }
        let said: Vec<_> = self.widgets.iter().flat_map(|(_, said)| said.clone()).collect();
        self.rig
            .until("everything said is taken", |state| {
                let session = state.session("s-1");
                let taken = &state.sessions[&session].said;
                said.iter().all(|text| taken.contains(text))
            })
            .await;
        // Long enough for whatever is still under way.
        tokio::time::sleep(std::time::Duration::from_secs(30)).await;
        let (head, taken) = self.rig.town.with(|state| {
            state.tell_heads();
            let session = state.session("s-1");
            let session = &state.sessions[&session];
            (session.events.len() as u64, session.said.clone())
        });
        for (second, said) in &self.seconds {
            until(&second.heard, "the last event", |frames| {
                frames.iter().any(|frame| frame["n"] == head && frame["t"] == "event")
            })
            .await;
            let (from, numbers) = second.numbers();
            assert_eq!(numbers, (from..=head).collect::<Vec<_>>(), "every event once, in order");
            assert_eq!(by("second", &taken, said), *said, "taken once, in order");
        }
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        for (widget, said) in &self.widgets {
            assert_eq!(widget.texts(), self.spoken, "shown once, in order");
            assert_eq!(by("widget", &taken, said), *said, "taken once, in order");
        }
        self.rig.end().await;
    }
}

/// What was taken of those who say things like these.
fn by(kind: &str, taken: &[String], said: &[String]) -> Vec<String> {
    let Some(first) = said.first() else { return Vec::new() };
    let who: Vec<_> = first.split(' ').take(2).collect();
    assert_eq!(who[0], kind);
    let own = format!("{} {} ", who[0], who[1]);
    taken.iter().filter(|text| text.starts_with(&own)).cloned().collect()
}

#[tokio::test(start_paused = true)]
async fn i5_i8_whatever_is_lost_and_whatever_it_is_called_everything_is_shown_once_and_taken_once()
{
    let one = std::env::var_os("GATEWAY_SEED").map(|seed| seed.to_str().unwrap().parse().unwrap());
    for seed in one.map_or(0..SEEDS, |seed: u64| seed..seed + 1) {
        let schedule = tokio::spawn(async move {
            let mut story = Story::begin(seed).await;
            for step in 0..STEPS {
                story.step(step).await;
            }
            story.end().await;
        });
        assert!(schedule.await.is_ok(), "with GATEWAY_SEED={seed}");
    }
}
