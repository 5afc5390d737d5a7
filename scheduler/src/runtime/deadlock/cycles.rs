//! Cycles in a graph: who waits for whom.

/// Cycles among nodes that have edges to some others: of each cycle its nodes, in their order, and how many others lead
/// there. A node that leads to many is counted for one. There is a cycle among those found wherever there is one at
/// all: each node that leads to a cycle is in one of them, or leads to one.
pub(super) fn find(edges: &[Vec<usize>]) -> Vec<(Vec<usize>, usize)> {
    let left = without_dead_ends(edges);
    let next = |node: usize| {
        let mut ahead = edges[node].iter().copied();
        ahead
            .find(|ahead| left[*ahead])
            .expect("no dead end is left")
    };
    let mut found: Vec<(Vec<usize>, usize)> = Vec::new();
    // Where each node leads that has been looked at.
    let mut leads_to = vec![None; edges.len()];
    let mut steps = vec![None; edges.len()];
    for start in (0..edges.len()).filter(|node| left[*node]) {
        let (mut way, mut node) = (Vec::new(), start);
        while leads_to[node].is_none() && steps[node].is_none() {
            steps[node] = Some(way.len());
            way.push(node);
            node = next(node);
        }
        let cycle = leads_to[node].unwrap_or_else(|| {
            let begin = steps[node].expect("the way has come to itself");
            found.push((way.split_off(begin), 0));
            found.len() - 1
        });
        for node in &found[cycle].0 {
            leads_to[*node] = Some(cycle);
        }
        for node in &way {
            leads_to[*node] = Some(cycle);
        }
        found[cycle].1 += way.len();
    }
    found
}

/// Of each node, whether a cycle can be reached from it.
fn without_dead_ends(edges: &[Vec<usize>]) -> Vec<bool> {
    let mut ways: Vec<_> = edges.iter().map(Vec::len).collect();
    let mut back = vec![Vec::new(); edges.len()];
    for (node, ahead) in edges.iter().enumerate() {
        ahead.iter().for_each(|ahead| back[*ahead].push(node));
    }
    let mut dead_ends: Vec<_> = (0..edges.len()).filter(|node| ways[*node] == 0).collect();
    while let Some(end) = dead_ends.pop() {
        for node in &back[end] {
            ways[*node] -= 1;
            if ways[*node] == 0 {
                dead_ends.push(*node);
            }
        }
    }
    ways.iter().map(|ways| *ways > 0).collect()
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::*;

    fn found(edges: &[&[usize]]) -> Vec<(Vec<usize>, usize)> {
        let edges: Vec<_> = edges.iter().map(|ahead| ahead.to_vec()).collect();
        find(&edges)
    }

    #[test]
    fn what_leads_nowhere_is_no_cycle() {
        assert_eq!(found(&[]), []);
        assert_eq!(found(&[&[], &[0], &[1], &[0, 2]]), []);
    }

    #[test]
    fn a_cycle_is_found_once_with_those_that_lead_there() {
        assert_eq!(found(&[&[0]]), [(vec![0], 0)]);
        assert_eq!(found(&[&[1], &[2], &[0]]), [(vec![0, 1, 2], 0)]);
        assert_eq!(found(&[&[1], &[2], &[1], &[0], &[]]), [(vec![1, 2], 2)]);
        let two = [(vec![0, 1], 1), (vec![2], 0)];
        assert_eq!(found(&[&[1], &[0], &[2], &[1]]), two);
    }

    #[test]
    fn of_many_edges_one_is_enough() {
        // A scope with three threads, two of which wait for what its own thread has.
        assert_eq!(found(&[&[1, 2, 3], &[], &[0], &[0]]), [(vec![0, 2], 1)]);
    }
}
