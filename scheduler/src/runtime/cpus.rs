//! How many CPUs this process may use: that many workers a runtime has if nobody says otherwise.
//!
//! `num_cpus` counts the CPUs of the affinity mask, which a cpuset narrows too, and reads the CPU quota of the cgroup that the
//! process is in. But a cgroup gets no more than those above it: a service in a system container most often has no quota of
//! its own, and the container has one. So the least quota on the way up is read here. What is above the root
//! of a cgroup namespace nobody in it can see.
//!
//! A quota is rounded up. With one and a half CPUs, one worker would leave half of one unused for good; of two, the kernel
//! holds up both for a quarter of the time when there is that much to do.
//!
//! Where something cannot be read or is not as expected, it says nothing.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// At least 1.
pub(super) fn usable() -> usize {
    let counted = num_cpus::get();
    let read = |path: &Path| {
        let content = fs::read(path).ok()?;
        Some(String::from_utf8_lossy(&content).into_owned())
    };
    quota(read).map_or(counted, |quota| quota.min(counted))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// The least quota, in whole CPUs, of the cgroup of this process and of those above it.
fn quota(read: impl Fn(&Path) -> Option<String>) -> Option<usize> {
    let membership = read(Path::new("/proc/self/cgroup"))?;
    let (version, cgroup) = cgroup(&membership)?;
    let mounts = read(Path::new("/proc/self/mountinfo"))?;
    let (top, bottom) = mounts
        .lines()
        .find_map(|mount| folders(mount, version, cgroup))?;
    bottom
        .ancestors()
        .take_while(|folder| folder.starts_with(&top))
        .filter_map(|folder| quota_in(folder, version, &read))
        .min()
}

/// Which cgroup binds the CPU time of this process. Where both versions are in use, the first one has named the controllers
/// that it has.
fn cgroup(membership: &str) -> Option<(Version, &Path)> {
    let find = |version| {
        membership.lines().find_map(|line| {
            // For example `4:cpu,cpuacct:/a` and `0::/a/b`.
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            let is_it = match version {
                Version::One => controllers.split(',').any(|one| one == "cpu"),
                Version::Two => controllers.is_empty(),
            };
            is_it.then_some((version, Path::new(path)))
        })
    };
    find(Version::One).or_else(|| find(Version::Two))
}

/// The folders of the highest cgroup that `mount` shows, and of `cgroup`, if it shows that.
fn folders(mount: &str, version: Version, cgroup: &Path) -> Option<(PathBuf, PathBuf)> {
    // For example `31 25 0:27 / /sys/fs/cgroup/cpu rw,nosuid shared:9 - cgroup cgroup rw,cpu`.
    let (place, filesystem) = mount.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let (root, point) = (place.next()?, place.next()?);
    let mut filesystem = filesystem.split(' ');
    let (kind, options) = (filesystem.next()?, filesystem.nth(1)?);
    let is_it = match version {
        Version::One => kind == "cgroup" && options.split(',').any(|option| option == "cpu"),
        Version::Two => kind == "cgroup2",
    };
    let below = cgroup.strip_prefix(root).ok()?;
    // A cgroup outside of the namespace's root is shown with `..`.
    let is_shown = below
        .components()
        .all(|c| matches!(c, Component::Normal(_)));
    (is_it && is_shown).then(|| (PathBuf::from(point), Path::new(point).join(below)))
}

/// The quota that a cgroup has itself, if it has one.
fn quota_in(
    folder: &Path,
    version: Version,
    read: impl Fn(&Path) -> Option<String>,
) -> Option<usize> {
    let (quota, period) = match version {
        Version::One => (
            read(&folder.join("cpu.cfs_quota_us"))?,
            read(&folder.join("cpu.cfs_period_us"))?,
        ),
        Version::Two => {
            let both = read(&folder.join("cpu.max"))?;
            let (quota, period) = both.trim().split_once(' ')?;
            (quota.to_owned(), period.to_owned())
        }
    };
    // None is `-1` in the first version, and `max` in the second.
    let quota: usize = quota.trim().parse().ok()?;
    let period: usize = period.trim().parse().ok()?;
    (period > 0).then(|| quota.div_ceil(period).max(1))
}

#[cfg(all(test, not(roving_loom)))]
mod tests {
    use super::*;

    /// The quota that is found where nothing but `files` can be read.
    fn quota_of(files: &[(&str, &str)]) -> Option<usize> {
        quota(|path| {
            let file = files.iter().find(|(name, _)| Path::new(name) == path);
            file.map(|(_, content)| (*content).to_owned())
        })
    }

    const MOUNT_TWO: (&str, &str) = (
        "/proc/self/mountinfo",
        "21 1 0:20 / /proc rw - proc proc rw\n\
         30 21 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
    );

    const MOUNT_ONE: (&str, &str) = (
        "/proc/self/mountinfo",
        "30 21 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755\n\
         31 30 0:27 / /sys/fs/cgroup/unified rw shared:5 - cgroup2 cgroup2 rw\n\
         32 30 0:28 / /sys/fs/cgroup/cpuset rw shared:6 - cgroup cgroup rw,cpuset\n\
         33 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:7 master:1 - cgroup cgroup rw,cpu,cpuacct\n",
    );

    #[test]
    fn a_container_is_the_root_of_its_namespace() {
        let of = |max| {
            quota_of(&[
                ("/proc/self/cgroup", "0::/\n"),
                MOUNT_TWO,
                ("/sys/fs/cgroup/cpu.max", max),
            ])
        };
        assert_eq!(of("150000 100000\n"), Some(2));
        assert_eq!(of("50000 100000\n"), Some(1));
        assert_eq!(of("200000 100000\n"), Some(2));
        assert_eq!(of("200001 100000\n"), Some(3));
        assert_eq!(of("1000 1000000\n"), Some(1));
        assert_eq!(of("max 100000\n"), None);
    }

    #[test]
    fn the_least_on_the_way_up_counts() {
        let of = |container, slice, service| {
            quota_of(&[
                ("/proc/self/cgroup", "0::/system.slice/a.service\n"),
                MOUNT_TWO,
                ("/sys/fs/cgroup/cpu.max", container),
                ("/sys/fs/cgroup/system.slice/cpu.max", slice),
                ("/sys/fs/cgroup/system.slice/a.service/cpu.max", service),
            ])
        };
        assert_eq!(of("150000 100000", "max 100000", "max 100000"), Some(2));
        assert_eq!(of("max 100000", "100000 100000", "400000 100000"), Some(1));
        assert_eq!(of("800000 100000", "70000 10000", "300000 100000"), Some(3));
        // The root of all has no such file.
        let below_the_root = [
            ("/proc/self/cgroup", "0::/a\n"),
            MOUNT_TWO,
            ("/sys/fs/cgroup/a/cpu.max", "300000 100000"),
        ];
        assert_eq!(quota_of(&below_the_root), Some(3));
    }

    #[test]
    fn the_first_version_has_a_hierarchy_for_cpus() {
        let of = |above, own| {
            quota_of(&[
                (
                    "/proc/self/cgroup",
                    "5:cpuset:/x\n4:cpu,cpuacct:/a/b\n1:name=systemd:/s\n0::/s\n",
                ),
                MOUNT_ONE,
                ("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", above),
                ("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n"),
                ("/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_quota_us", own),
                (
                    "/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_period_us",
                    "50000\n",
                ),
                // The second version has no say while the first has the controller.
                ("/sys/fs/cgroup/unified/s/cpu.max", "100000 100000"),
            ])
        };
        assert_eq!(of("-1\n", "250000\n"), Some(5));
        assert_eq!(of("250000\n", "-1\n"), Some(3));
        assert_eq!(of("250000\n", "100000\n"), Some(2));
        assert_eq!(of("-1\n", "-1\n"), None);
    }

    #[test]
    fn the_second_version_counts_where_the_first_has_other_controllers() {
        let files = [
            ("/proc/self/cgroup", "1:name=systemd:/s\n0::/s\n"),
            MOUNT_ONE,
            ("/sys/fs/cgroup/unified/s/cpu.max", "400000 100000"),
        ];
        assert_eq!(quota_of(&files), Some(4));
    }

    /// A container with the machine's namespace sees its own cgroup at the place of the root.
    #[test]
    fn a_mount_may_show_a_part() {
        let files = [
            ("/proc/self/cgroup", "4:cpu:/docker/1f/b\n"),
            (
                "/proc/self/mountinfo",
                "30 21 0:26 /docker/2e /other rw - cgroup cgroup rw,cpu\n\
                 31 21 0:26 /docker/1f /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n",
            ),
            ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "350000"),
            ("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000"),
        ];
        assert_eq!(quota_of(&files), Some(4));
    }

    #[test]
    fn what_cannot_be_read_says_nothing() {
        let cgroup = ("/proc/self/cgroup", "0::/\n");
        let max = ("/sys/fs/cgroup/cpu.max", "100000 100000");
        assert_eq!(quota_of(&[cgroup, MOUNT_TWO, max]), Some(1));
        assert_eq!(quota_of(&[]), None);
        assert_eq!(quota_of(&[MOUNT_TWO, max]), None);
        assert_eq!(quota_of(&[cgroup, max]), None);
        assert_eq!(quota_of(&[cgroup, MOUNT_TWO]), None);
        // It was moved out of its namespace.
        let outside = ("/proc/self/cgroup", "0::/../other\n");
        assert_eq!(quota_of(&[outside, MOUNT_TWO, max]), None);
        // It can be seen nowhere.
        let elsewhere = (
            "/proc/self/mountinfo",
            "30 21 0:26 /x /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        );
        assert_eq!(quota_of(&[cgroup, elsewhere, max]), None);
    }

    #[test]
    fn what_is_not_as_expected_says_nothing() {
        let cgroup = ("/proc/self/cgroup", "0::/a\n");
        for max in [
            "",
            "\n",
            "100000",
            "100000 0",
            "-5 100000",
            "a b",
            "1.5 1",
            "99999999999999999999 1",
        ] {
            let files = [
                cgroup,
                MOUNT_TWO,
                ("/sys/fs/cgroup/a/cpu.max", max),
                ("/sys/fs/cgroup/cpu.max", "700000 100000"),
            ];
            assert_eq!(quota_of(&files), Some(7), "{max:?}");
        }
        for membership in ["", "\n\n", "0", "0:", "0:cpu", "::", "0::a", "\u{fffd}:x:/"] {
            for mounts in [
                "",
                " - ",
                "1 2 3 - cgroup2",
                "- cgroup2 cgroup2 rw",
                "a b c / /x rw - cgroup2 c",
            ] {
                let files = [
                    ("/proc/self/cgroup", membership),
                    ("/proc/self/mountinfo", mounts),
                ];
                assert_eq!(quota_of(&files), None, "{membership:?}, {mounts:?}");
            }
        }
    }

    #[test]
    fn there_is_a_cpu() {
        assert!((1..=num_cpus::get()).contains(&usable()));
    }
}
