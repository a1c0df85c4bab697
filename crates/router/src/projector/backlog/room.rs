//! Room for what has to be read. What is held above a gap cannot be let go of by writing it: the rows that it waits
//! for cover what is below, too. So it must never keep the gap from being read.

use stentor_types::{Partition, Sequence};

use super::{Gap, Inner};

impl Inner {
    /// Whether there is room for a part of the log. Where there is none, what is held above gaps is let go of: it
    /// is read again with them.
    pub(super) fn has_room_to_read(&mut self) -> bool {
        if self.is_half_full() {
            let behind: Vec<_> =
                self.parts.iter().filter_map(|(at, part)| Some((*at, part.gap?))).collect();
            for (partition, gap) in behind {
                self.let_go_above(partition, gap);
            }
        }
        !self.is_half_full()
    }

    const fn is_half_full(&self) -> bool {
        self.records > self.limits.records / 2 || self.bytes > self.limits.bytes / 2
    }

    fn let_go_above(&mut self, partition: Partition, gap: Gap) {
        let Some(part) = self.parts.get_mut(&partition) else { return };
        let from = match gap {
            Gap::Cursor => Sequence(0),
            Gap::At(from) => from,
        };
        let (records, bytes) = (&mut self.records, &mut self.bytes);
        self.works.retain(|entity, work| {
            // What was given up on holds the cursor, and is not taken again.
            if entity.partition() != partition || work.refused {
                return true;
            }
            let before = work.bytes();
            for sequence in work.let_go(from) {
                if let Some(at) = part.open.remove(&sequence) {
                    *records -= 1;
                    // A reading that is under way may not come as far.
                    part.miss(sequence, at);
                }
            }
            *bytes -= before - work.bytes();
            !work.is_done()
        });
    }
}
