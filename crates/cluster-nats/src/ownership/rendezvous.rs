//! Who should have a partition, if everybody who is well is asked: each router has a random rank for
//! each partition, and the highest has it. When a router leaves, only its own partitions move.

use stentor_types::Partition;
use xxhash_rust::xxh3::xxh3_64;

use crate::members::RouterId;

/// The rank of a router for a partition. By name: after a restart it gets what it had.
fn rank(router: &RouterId, partition: Partition) -> u64 {
    let mut input = router.name.as_str().as_bytes().to_vec();
    input.extend_from_slice(&[0, partition.number()]);
    xxh3_64(&input)
}

/// The first in line for a partition.
pub(crate) fn first<'routers>(
    routers: impl IntoIterator<Item = &'routers RouterId>,
    partition: Partition,
) -> Option<&'routers RouterId> {
    // Two with the same name: the one whose life has the higher number.
    routers.into_iter().max_by_key(|router| (rank(router, partition), router.incarnation))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::MemberName;

    fn routers(count: u64) -> Vec<RouterId> {
        let name = |number| MemberName::try_new(&format!("stentor-router-{number}")).unwrap();
        (0..count).map(|number| RouterId { name: name(number), incarnation: 1 }).collect()
    }

    fn share(routers: &[RouterId], of: &RouterId) -> usize {
        Partition::all().filter(|partition| first(routers, *partition) == Some(of)).count()
    }

    #[test]
    fn partitions_are_spread() {
        for count in 2..=5 {
            let routers = routers(count);
            for router in &routers {
                let fair = 64 / routers.len();
                let share = share(&routers, router);
                assert!(share > fair / 3 && share < fair * 2, "{router} of {count}: {share}");
            }
        }
    }

    #[test]
    fn only_the_partitions_of_who_leaves_move() {
        let all = routers(4);
        let (left, stay) = all.split_last().unwrap();
        for partition in Partition::all() {
            let before = first(&all, partition).unwrap();
            if before != left {
                assert_eq!(first(stay, partition), Some(before));
            }
        }
    }

    #[test]
    fn a_restarted_router_is_first_where_it_was() {
        let before = routers(3);
        let after: Vec<_> =
            before.iter().map(|router| RouterId { incarnation: 9, ..router.clone() }).collect();
        for partition in Partition::all() {
            let names = [first(&before, partition), first(&after, partition)];
            assert_eq!(names[0].unwrap().name, names[1].unwrap().name);
        }
    }
}
