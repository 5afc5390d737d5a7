//! OS threads: std's own primitives, and crossbeam's channels.

pub(crate) mod std_channels {
    use super::super::work;
    work::channels!(
        std::thread,
        std::sync::mpsc::sync_channel,
        std::sync::mpsc::channel
    );
}

pub(crate) mod crossbeam {
    use super::super::work;
    work::channels!(
        std::thread,
        crossbeam_channel::bounded,
        crossbeam_channel::unbounded
    );
    work::selects!(std::thread, crossbeam_channel);
}

pub(crate) mod locks {
    use super::super::work;
    work::locks!(std::thread, std::sync);
}
