//! What one member knows of the others. Pure: it is told what was heard, and when.

use std::{collections::BTreeMap, fmt, time::Duration};

use stentor_types::GatewayId;

use super::{
    Listening, MemberName,
    heartbeat::{Heartbeat, Standing},
};
use crate::timings::Timings;

/// Members that are remembered. Far more than a cluster has; a newcomer beyond it is not noticed until
/// others have been forgotten.
const MEMBERS_MAX: usize = 4_096;

/// What a member is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Router,
    Gateway,
    Connector,
}

/// One life of one process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Member {
    pub(crate) role: Role,
    pub(crate) name: MemberName,
    pub(crate) incarnation: u64,
}

/// One life of a router process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RouterId {
    /// The process, also after a restart.
    pub name: MemberName,
    /// Random: a restarted router is another one.
    pub incarnation: u64,
}

/// What was new about a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    /// It was the member's own.
    pub(crate) own: bool,
    /// It was the first of somebody else.
    pub(crate) first: bool,
    /// It was of a gateway that this member has taken for gone.
    pub(crate) given_up: bool,
}

#[derive(Debug)]
struct Seen {
    heard: Duration,
    standing: Standing,
    version: u32,
}

/// What is known of the others.
#[derive(Debug)]
pub(crate) struct View {
    me: Member,
    timings: Timings,
    /// When the member last heard itself, and since when it has without a gap.
    heard_itself: Option<(Duration, Duration)>,
    others: BTreeMap<Member, Seen>,
    /// Gateways that were taken for gone without having said goodbye, and when. They may only have been cut off
    /// from this member, and come back without knowing.
    given_up: BTreeMap<GatewayId, Duration>,
}

// === impl Role ===

impl Role {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Router => "router",
            Self::Gateway => "gateway",
            Self::Connector => "connector",
        }
    }
}

// === impl Member ===

impl Member {
    /// Where its heartbeats go: `hb.<role>.<name>.<incarnation>`.
    pub(crate) fn subject(&self) -> String {
        format!("hb.{}.{}.{:016x}", self.role.as_str(), self.name, self.incarnation)
    }

    /// Where it listens.
    pub(crate) fn listens_to(&self, listening: Listening) -> String {
        match listening {
            Listening::Everybody => "hb.>".to_owned(),
            // Whatever it will be called later.
            Listening::Itself => format!("hb.{}.{}.*", self.role.as_str(), self.name),
        }
    }

    /// Whose heartbeats go there.
    pub(crate) fn of_subject(subject: &str) -> Option<Self> {
        let mut tokens = subject.strip_prefix("hb.")?.split('.');
        let role = match tokens.next()? {
            "router" => Role::Router,
            "gateway" => Role::Gateway,
            "connector" => Role::Connector,
            _ => return None,
        };
        let name = MemberName::try_new(tokens.next()?).ok()?;
        let incarnation = u64::from_str_radix(tokens.next()?, 16).ok()?;
        tokens.next().is_none().then_some(Self { role, name, incarnation })
    }
}

// === impl RouterId ===

impl RouterId {
    pub(crate) fn member(&self) -> Member {
        Member { role: Role::Router, name: self.name.clone(), incarnation: self.incarnation }
    }

    /// Where other routers tell this one something: `own.<what>.<incarnation>`.
    pub(crate) fn told_at(&self, what: &str) -> String {
        format!("own.{what}.{:016x}", self.incarnation)
    }

    /// Reads what [`fmt::Display`] writes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (name, incarnation) = text.split_once('.')?;
        let incarnation = u64::from_str_radix(incarnation, 16).ok()?;
        Some(Self { name: MemberName::try_new(name).ok()?, incarnation })
    }
}

impl fmt::Display for RouterId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{:016x}", self.name, self.incarnation)
    }
}

// === impl View ===

impl View {
    pub(crate) const fn new(me: Member, timings: Timings) -> Self {
        Self { me, timings, heard_itself: None, others: BTreeMap::new(), given_up: BTreeMap::new() }
    }

    pub(crate) const fn me(&self) -> &Member {
        &self.me
    }

    pub(crate) fn rename(&mut self, incarnation: u64) {
        self.me.incarnation = incarnation;
    }

    /// Takes note of a heartbeat that arrives `now`.
    pub(crate) fn hear(&mut self, member: &Member, heartbeat: Heartbeat, now: Duration) -> Heard {
        if *member == self.me {
            let since = match self.heard_itself {
                Some((last, since)) if now.saturating_sub(last) <= self.timings.deaf_after => since,
                _ => now,
            };
            self.heard_itself = Some((now, since));
            self.forget(now);
            return Heard { own: true, first: false, given_up: false };
        }
        let Heartbeat { standing, version, .. } = heartbeat;
        let given_up = member.role == Role::Gateway
            && standing != Standing::Gone
            && self.given_up.contains_key(&GatewayId(member.incarnation));
        let seen = Seen { heard: now, standing, version };
        let has_room = self.others.len() < MEMBERS_MAX;
        match self.others.get_mut(member) {
            // What was on its way while it ended does not bring it back.
            Some(old) if old.standing == Standing::Gone => {}
            Some(old) => *old = seen,
            None if has_room => {
                self.others.insert(member.clone(), seen);
                return Heard { own: false, first: true, given_up };
            }
            None => {}
        }
        Heard { own: false, first: false, given_up }
    }

    /// Whether the member hears itself just now.
    pub(crate) fn hears_itself(&self, now: Duration) -> bool {
        self.listened(now).is_some()
    }

    /// For how long the member has heard itself without a gap; nothing if it does not.
    pub(crate) fn listened(&self, now: Duration) -> Option<Duration> {
        let (last, since) = self.heard_itself?;
        let hears = now.saturating_sub(last) <= self.timings.deaf_after;
        hears.then(|| now.saturating_sub(since))
    }

    /// For how long a member has been silent while it could have been heard; for ever once it has said
    /// goodbye. Nothing while this member does not hear itself.
    pub(crate) fn silence(&self, member: &Member, now: Duration) -> Option<Duration> {
        let listened = self.listened(now)?;
        Some(match self.others.get(member) {
            Some(Seen { standing: Standing::Gone, .. }) => Duration::MAX,
            Some(seen) => now.saturating_sub(seen.heard).min(listened),
            None => listened,
        })
    }

    /// The other routers that may be given partitions.
    pub(crate) fn well_routers(&self, now: Duration) -> Vec<RouterId> {
        self.routers_for(0, now)
    }

    /// Those of them that know this version of the rules.
    pub(crate) fn routers_for(&self, version: u32, now: Duration) -> Vec<RouterId> {
        let well = self.others.iter().filter(|(member, seen)| {
            member.role == Role::Router
                && seen.standing == Standing::Well
                && seen.version >= version
                && now.saturating_sub(seen.heard) < self.timings.takeover_after
        });
        let id = |member: &Member| RouterId {
            name: member.name.clone(),
            incarnation: member.incarnation,
        };
        well.map(|(member, _)| id(member)).collect()
    }

    /// The gateways that are there.
    pub(crate) fn gateways(&self, now: Duration) -> Vec<GatewayId> {
        let gateways = self.others.iter().filter(|(member, seen)| {
            member.role == Role::Gateway
                && seen.standing != Standing::Gone
                && now.saturating_sub(seen.heard) < self.timings.gone_after
        });
        gateways.map(|(member, _)| GatewayId(member.incarnation)).collect()
    }

    /// Whether a gateway has been silent for so long that it will take another name. Whoever is told so may act on
    /// it: should the gateway be heard again, it has to be told.
    pub(crate) fn is_gone(&mut self, gateway: GatewayId, now: Duration) -> bool {
        let Some(listened) = self.listened(now) else { return false };
        let lives = self
            .others
            .keys()
            .filter(|member| member.role == Role::Gateway && member.incarnation == gateway.0);
        let silences = lives.filter_map(|member| self.silence(member, now));
        let silence = silences.min().unwrap_or(listened);
        let is_gone = silence >= self.timings.gone_after;
        if is_gone && silence < Duration::MAX {
            self.note_given_up(gateway, now);
        }
        is_gone
    }

    fn note_given_up(&mut self, gateway: GatewayId, now: Duration) {
        if self.given_up.contains_key(&gateway) {
            return;
        }
        if self.given_up.len() >= MEMBERS_MAX {
            let oldest = self.given_up.iter().min_by_key(|(_, at)| **at).map(|(oldest, _)| *oldest);
            oldest.map(|oldest| self.given_up.remove(&oldest));
        }
        self.given_up.insert(gateway, now);
    }

    /// Those of whom nothing is to be expected any more look the same as those never heard of.
    fn forget(&mut self, now: Duration) {
        let keep = self.timings.gone_after * 3;
        self.others.retain(|_, seen| now.saturating_sub(seen.heard) < keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn member(role: Role, name: &str, incarnation: u64) -> Member {
        Member { role, name: MemberName::try_new(name).unwrap(), incarnation }
    }

    fn router(name: &str) -> RouterId {
        RouterId { name: MemberName::try_new(name).unwrap(), incarnation: 1 }
    }

    fn well(at: Duration) -> Heartbeat {
        Heartbeat { published: at, standing: Standing::Well, version: 1 }
    }

    /// Whether nobody may take what a router owns.
    fn is_alive(view: &View, name: &str, now: Duration) -> bool {
        let silence = view.silence(&router(name).member(), now);
        silence.is_none_or(|silence| silence < Timings::default().takeover_after)
    }

    fn view() -> View {
        View::new(router("me").member(), Timings::default())
    }

    /// The view hears itself each second within the range.
    fn listen(view: &mut View, seconds: std::ops::RangeInclusive<u64>) {
        for second in seconds {
            let me = view.me().clone();
            view.hear(&me, well(ms(second * 1_000)), ms(second * 1_000));
        }
    }

    #[test]
    fn a_silent_router_is_dead_after_three_seconds_of_listening() {
        let mut view = view();
        view.hear(&router("other").member(), well(ms(0)), ms(0));
        listen(&mut view, 0..=3);
        assert!(is_alive(&view, "other", ms(2_999)));
        assert!(!is_alive(&view, "other", ms(3_000)));
    }

    #[test]
    fn f24_nobody_looks_dead_to_an_observer_that_does_not_hear_itself() {
        let mut view = view();
        view.hear(&router("other").member(), well(ms(0)), ms(0));
        listen(&mut view, 0..=1);
        for at in [2_501, 3_001, 60_000] {
            assert!(is_alive(&view, "other", ms(at)), "{at}");
            assert!(!view.is_gone(GatewayId(7), ms(at)), "{at}");
        }
        // It hears itself again: what was before does not count.
        listen(&mut view, 60..=62);
        assert!(is_alive(&view, "other", ms(62_999)));
        listen(&mut view, 63..=63);
        assert!(!is_alive(&view, "other", ms(63_000)));
    }

    #[test]
    fn a_router_that_was_never_heard_is_dead_only_after_as_long() {
        let mut view = view();
        listen(&mut view, 10..=13);
        assert!(is_alive(&view, "forgotten", ms(12_999)));
        assert!(!is_alive(&view, "forgotten", ms(13_000)));
    }

    #[test]
    fn a_goodbye_counts_at_once_and_for_ever() {
        let mut view = view();
        listen(&mut view, 0..=1);
        let gone = Heartbeat { published: ms(1_000), standing: Standing::Gone, version: 1 };
        for other in [router("other").member(), member(Role::Gateway, "g", 7)] {
            view.hear(&other, well(ms(900)), ms(900));
            view.hear(&other, gone, ms(1_000));
            view.hear(&other, well(ms(999)), ms(1_001));
        }
        assert!(!is_alive(&view, "other", ms(1_002)));
        assert!(view.is_gone(GatewayId(7), ms(1_002)));
        assert_eq!(view.gateways(ms(1_002)), []);
    }

    #[test]
    fn a_gateway_is_gone_after_ten_seconds_of_silence_and_not_before() {
        let mut view = view();
        let gateway = member(Role::Gateway, "g", 7);
        listen(&mut view, 0..=5);
        view.hear(&gateway, well(ms(5_000)), ms(5_000));
        listen(&mut view, 6..=14);
        assert!(!view.is_gone(GatewayId(7), ms(14_999)));
        assert_eq!(view.gateways(ms(14_999)), [GatewayId(7)]);
        // One never heard of has been silent for as long as anybody has listened.
        assert!(view.is_gone(GatewayId(8), ms(14_999)));
        listen(&mut view, 15..=60);
        assert!(view.is_gone(GatewayId(7), ms(15_000)));
        assert!(view.is_gone(GatewayId(7), ms(60_000)), "also when it is forgotten");
        assert_eq!(view.others.len(), 0);
    }

    #[test]
    fn a_gateway_that_comes_back_after_it_was_given_up_is_noticed_until_it_is_called_by_another_name()
     {
        let mut view = view();
        let gateway = member(Role::Gateway, "g", 7);
        let hear = |view: &mut View, at| view.hear(&gateway, well(ms(at)), ms(at)).given_up;
        listen(&mut view, 0..=5);
        assert!(!hear(&mut view, 5_000));
        // Nobody wanted to know: nobody has acted on it.
        listen(&mut view, 6..=20);
        assert!(!hear(&mut view, 20_000));
        listen(&mut view, 21..=60);
        assert!(view.is_gone(GatewayId(7), ms(60_000)), "also when it is forgotten");
        for at in [60_500, 61_000] {
            assert!(hear(&mut view, at));
            assert!(!view.is_gone(GatewayId(7), ms(at)));
        }
        assert!(!view.hear(&member(Role::Gateway, "g", 8), well(ms(1)), ms(61_100)).given_up);
        // One that has said goodbye does not come back.
        let gone = Heartbeat { published: ms(0), standing: Standing::Gone, version: 1 };
        view.hear(&member(Role::Gateway, "g", 9), gone, ms(61_000));
        assert!(view.is_gone(GatewayId(9), ms(61_000)));
        assert_eq!(view.given_up.len(), 1);
    }

    #[test]
    fn i15_gateways_that_were_given_up_are_forgotten_in_the_end() {
        let mut view = view();
        listen(&mut view, 0..=20);
        let count = 2 * u64::try_from(MEMBERS_MAX).unwrap();
        for gateway in 0..count {
            assert!(view.is_gone(GatewayId(gateway), ms(20_000) + Duration::from_micros(gateway)));
        }
        assert_eq!(view.given_up.len(), MEMBERS_MAX);
        assert!(view.given_up.contains_key(&GatewayId(count - 1)));
    }

    #[test]
    fn only_those_who_say_that_they_are_well_are_given_anything() {
        let mut view = view();
        listen(&mut view, 0..=1);
        for (name, standing) in
            [("a", Standing::Well), ("b", Standing::Unfit), ("c", Standing::Draining)]
        {
            let heartbeat = Heartbeat { published: ms(0), standing, version: 1 };
            view.hear(&router(name).member(), heartbeat, ms(1_000));
        }
        assert_eq!(view.well_routers(ms(1_500)), [router("a")]);
        assert_eq!(view.routers_for(1, ms(1_500)), [router("a")]);
        assert_eq!(view.routers_for(2, ms(1_500)), []);
    }

    #[test]
    fn i17_only_subjects_of_heartbeats_name_members() {
        let gateway = member(Role::Gateway, "pod-1", 0xabc);
        assert_eq!(gateway.subject(), "hb.gateway.pod-1.0000000000000abc");
        assert_eq!(Member::of_subject(&gateway.subject()), Some(gateway));
        for subject in ["hb.gateway.a", "hb.king.a.1", "hb.router.a.1.2", "hb.router.a.xyz", "gw.1"]
        {
            assert_eq!(Member::of_subject(subject), None, "{subject}");
        }
    }
}
