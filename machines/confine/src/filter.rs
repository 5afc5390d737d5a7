//! Makes refusals a seccomp filter of this process, and of all that it becomes and starts.

use std::collections::BTreeMap;
use std::env::consts::ARCH;

use anyhow::{Context, Result};
use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};

use crate::refusals::{Condition, Refusal};

/// From now on the system refuses what is in `refusals`. A filter gives one error, so each error has a filter of its own;
/// all of them are asked.
pub(crate) fn install(refusals: &[Refusal]) -> Result<()> {
    let arch = TargetArch::try_from(ARCH)?;
    let mut by_errno: BTreeMap<i32, BTreeMap<c_long, Vec<SeccompRule>>> = BTreeMap::new();
    for refusal in refusals {
        let calls = by_errno.entry(refusal.errno).or_default();
        let rules = calls.entry(refusal.call).or_default();
        // A call without rules is refused whatever its arguments.
        if !refusal.when.is_empty() {
            let when = refusal.when.iter().map(condition);
            rules.push(SeccompRule::new(when.collect::<Result<_>>()?)?);
        }
    }
    for (errno, calls) in by_errno {
        let refuse = SeccompAction::Errno(errno.cast_unsigned());
        let filter = SeccompFilter::new(calls, SeccompAction::Allow, refuse, arch)?;
        let program = BpfProgram::try_from(filter)?;
        apply_filter(&program).context("the system takes no seccomp filter")?;
    }
    Ok(())
}

fn condition(condition: &Condition) -> Result<SeccompCondition> {
    let (argument, operator, value) = match *condition {
        Condition::Is(argument, value) => (argument, SeccompCmpOp::Eq, value),
        Condition::IsNot(argument, value) => (argument, SeccompCmpOp::Ne, value),
        Condition::HasBit(argument, bit) => (argument, SeccompCmpOp::MaskedEq(u64::from(bit)), bit),
    };
    let length = SeccompCmpArgLen::Dword;
    Ok(SeccompCondition::new(
        argument,
        length,
        operator,
        u64::from(value),
    )?)
}
