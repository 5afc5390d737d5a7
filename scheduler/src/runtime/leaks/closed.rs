//! Who is left of those who wait when all have gone who may be woken.

/// What is known of one who waits, among others that have numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Node {
    /// References to it, those of others in the set included that join it.
    pub(super) references: usize,
    /// Without whom it is not woken, if there are no other references.
    pub(super) needs: Need,
    /// Whom it joins. It has a reference to that one, which it uses when it goes on.
    pub(super) joins: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Whoever has a reference.
    Reference,
    /// One in the set.
    Other(usize),
    /// One outside of it.
    Outside,
}

/// Of each node, whether it is in the largest set of which none is `out`, and none can be woken but by another one in it.
pub(super) fn closed(nodes: &[Node], out: impl Iterator<Item = usize>) -> Vec<bool> {
    let mut from_inside = vec![0; nodes.len()];
    let mut needed_by = vec![Vec::new(); nodes.len()];
    for (index, node) in nodes.iter().enumerate() {
        if let Some(joined) = node.joins {
            from_inside[joined] += 1;
        }
        if let Need::Other(other) = node.needs {
            needed_by[other].push(index);
        }
    }
    let may_go = |index: usize, from_inside: &[usize]| nodes[index].references > from_inside[index];
    let goes = (0..nodes.len())
        .filter(|index| may_go(*index, &from_inside) || nodes[*index].needs == Need::Outside);
    let mut going: Vec<_> = goes.chain(out).collect();
    let mut is_in = vec![true; nodes.len()];
    while let Some(index) = going.pop() {
        if !std::mem::replace(&mut is_in[index], false) {
            continue;
        }
        going.extend(&needed_by[index]);
        if let Some(joined) = nodes[index].joins {
            from_inside[joined] -= 1;
            if may_go(joined, &from_inside) {
                going.push(joined);
            }
        }
    }
    is_in
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::*;

    fn parks(references: usize) -> Node {
        Node {
            references,
            needs: Need::Reference,
            joins: None,
        }
    }

    fn joins(other: usize, references: usize) -> Node {
        Node {
            references,
            needs: Need::Other(other),
            joins: Some(other),
        }
    }

    fn locks(needs: Need) -> Node {
        Node {
            references: 0,
            needs,
            joins: None,
        }
    }

    fn left(nodes: &[Node], out: &[usize]) -> Vec<usize> {
        let closed = closed(nodes, out.iter().copied());
        (0..nodes.len()).filter(|node| closed[*node]).collect()
    }

    #[test]
    fn one_to_whom_somebody_has_a_reference_goes() {
        assert_eq!(left(&[parks(0), parks(1)], &[]), [0]);
        assert_eq!(left(&[parks(0), parks(0)], &[1]), [0]);
    }

    #[test]
    fn who_joins_stays_if_the_other_does_and_takes_it_along_if_it_goes() {
        assert_eq!(left(&[parks(1), joins(0, 0)], &[]), [0, 1]);
        assert_eq!(left(&[parks(1), joins(0, 1)], &[]), [0; 0]);
        assert_eq!(left(&[parks(2), joins(0, 0)], &[]), [0; 0]);
        assert_eq!(left(&[parks(1), joins(0, 1), joins(1, 0)], &[]), [0, 1, 2]);
        assert_eq!(left(&[parks(1), joins(0, 1), joins(1, 0)], &[2]), [0; 0]);
        assert_eq!(left(&[joins(1, 1), joins(0, 1)], &[]), [0, 1]);
    }

    #[test]
    fn who_waits_for_a_lock_stays_if_its_holder_does() {
        let nodes = [parks(0), locks(Need::Other(0)), locks(Need::Other(1))];
        assert_eq!(left(&nodes, &[]), [0, 1, 2]);
        assert_eq!(left(&nodes, &[0]), [0; 0]);
        assert_eq!(left(&nodes, &[1]), [0]);
        assert_eq!(left(&[locks(Need::Other(0))], &[]), [0]);
        assert_eq!(left(&[locks(Need::Outside)], &[]), [0; 0]);
    }
}
