//! Channels and select.

use std::mem;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use roving::channel::{self, Receiver, Select, SelectedOperation, Sender};
use roving::{select, select_biased};

use super::{Thread, limit};
use crate::program::{Action, Arm, Op, Patience, Selected};
use crate::value::{Message, Sent};

/// What an arm of a select refers to.
enum End {
    Sender(usize, Sender<Message>),
    Receiver(usize, Receiver<Message>),
    Clock(Receiver<Instant>),
    Child,
    Token(usize),
}

impl Thread<'_> {
    #[inline(never)]
    pub(super) fn channel(&mut self, op: &Op) {
        match op {
            Op::Send {
                channel,
                patience,
                action,
            } => self.send(*channel, *patience, *action),
            Op::Receive { channel, patience } => self.receive(*channel, *patience),
            Op::ReceiveMany {
                channel,
                most,
                patience,
            } => self.receive_many(*channel, *most, *patience),
            Op::DropSender(channel) => drop(self.ends.senders[*channel].take()),
            Op::DropReceiver(channel) => drop(self.ends.receivers[*channel].take()),
            Op::Select {
                arms,
                biased,
                patience,
                then,
            } => self.select(arms, *biased, *patience, *then),
            Op::SelectMacro {
                send,
                receive,
                micros,
                biased,
            } => self.select_macro(*send, *receive, Duration::from_micros(*micros), *biased),
            _ => unreachable!("another file does the rest"),
        }
    }

    fn message(&mut self, channel: usize, action: Action) -> (Message, Sent) {
        self.sequence += 1;
        let message = Message::new(
            &self.world.oracle,
            self.status.number,
            self.sequence,
            action,
            self.world.program.channels[channel].kept,
        );
        let sent = message.ticket();
        (message, sent)
    }

    /// A message has come.
    fn has_received(&mut self, channel: usize, message: Message) {
        message.received();
        let key = (channel, message.sender());
        let last = self.seen.insert(key, message.sequence());
        let oracle = &self.world.oracle;
        let may_be_late = oracle.gives_back.load(Ordering::SeqCst);
        oracle.check(
            may_be_late || last.is_none_or(|last| last < message.sequence()),
            format_args!(
                "thread {} received message {} of thread {} after {last:?}",
                self.status.number,
                message.sequence(),
                message.sender()
            ),
        );
    }

    fn send(&mut self, channel: usize, patience: Patience, action: Action) {
        let Some(sender) = self.ends.senders[channel].clone() else {
            return;
        };
        let (message, sent) = self.message(channel, action);
        let has_sent = match patience {
            _ if self.as_futures => Self::wait_for(patience, sender.send_async(message))
                .is_some_and(|sent| sent.is_ok()),
            Patience::Never => sender.try_send(message).is_ok(),
            Patience::Forever => sender.send(message).is_ok(),
            Patience::For(micros) => sender
                .send_timeout(message, Duration::from_micros(micros))
                .is_ok(),
        };
        if has_sent {
            sent.note();
        }
    }

    fn receive(&mut self, channel: usize, patience: Patience) {
        let Some(receiver) = &self.ends.receivers[channel] else {
            return;
        };
        let received = match patience {
            _ if self.as_futures => {
                Self::wait_for(patience, receiver.recv_async()).and_then(Result::ok)
            }
            Patience::Never => receiver.try_recv().ok(),
            Patience::Forever => receiver.recv().ok(),
            Patience::For(micros) => receiver.recv_timeout(Duration::from_micros(micros)).ok(),
        };
        if let Some(message) = received {
            self.has_received(channel, message);
        }
    }

    fn receive_many(&mut self, channel: usize, most: usize, patience: Patience) {
        let Some(receiver) = self.ends.receivers[channel].clone() else {
            return;
        };
        if patience == Patience::Forever {
            for message in receiver.iter().take(most) {
                self.has_received(channel, message);
            }
        } else {
            for message in receiver.try_iter().take(most) {
                self.has_received(channel, message);
            }
        }
    }

    fn select(&mut self, arms: &[Arm], biased: bool, patience: Patience, then: Selected) {
        // It is put back, unless it is joined or this unwinds.
        let child = self.children.pop();
        let arms = arms.iter().filter_map(|arm| match (arm, &child) {
            (Arm::Child, None) => None,
            _ => self.end(*arm),
        });
        let ends: Vec<End> = arms.collect();
        let mut select = if biased {
            Select::new_biased()
        } else {
            Select::new()
        };
        for end in &ends {
            match (end, &child) {
                (End::Sender(_, sender), _) => select.send(sender),
                (End::Receiver(_, receiver), _) => select.recv(receiver),
                (End::Clock(receiver), _) => select.recv(receiver),
                (End::Token(token), _) => select.ready_of(&self.world.tokens[*token]),
                (End::Child, Some(child)) => select.ready_of(&child.handle),
                (End::Child, None) => unreachable!("there is no arm for it"),
            };
        }
        // One without arms waits for nothing.
        let limit = match limit(patience) {
            None if ends.is_empty() => Some(Duration::ZERO),
            limit => limit,
        };
        let mut has_ended = false;
        if then == Selected::Observe {
            let index = match limit {
                Some(Duration::ZERO) => select.try_ready().ok(),
                Some(limit) => select.ready_timeout(limit).ok(),
                None => Some(select.ready()),
            };
            self.world.oracle.check(
                index.is_none_or(|index| index < ends.len()),
                "a select found an arm ready that it does not have",
            );
        } else {
            let selected = match limit {
                Some(Duration::ZERO) => select.try_select().ok(),
                Some(limit) => select.select_timeout(limit).ok(),
                None => Some(select.select()),
            };
            match selected {
                Some(operation) if then == Selected::Abandon => {
                    let oracle = &self.world.oracle;
                    oracle.gives_back.store(true, Ordering::SeqCst);
                    drop(operation);
                }
                Some(operation) if then == Selected::Forget => {
                    let oracle = &self.world.oracle;
                    oracle.forgets_promises.store(true, Ordering::SeqCst);
                    mem::forget(operation);
                }
                Some(operation) => {
                    let index = operation.index();
                    has_ended = self.complete(operation, &ends[index]);
                }
                None => {}
            }
        }
        let Some(child) = child else {
            return;
        };
        if has_ended {
            let oracle = &self.world.oracle;
            oracle.check(
                child.handle.is_finished(),
                "a select found a thread ready that had not ended",
            );
            oracle.joined(&child.status, child.handle.join());
        } else {
            self.children.push(child);
        }
    }

    fn end(&self, arm: Arm) -> Option<End> {
        Some(match arm {
            Arm::Send(channel) => End::Sender(channel, self.ends.senders[channel].clone()?),
            Arm::Receive(channel) => End::Receiver(channel, self.ends.receivers[channel].clone()?),
            Arm::After(micros) => End::Clock(channel::after(Duration::from_micros(micros))),
            Arm::Never => End::Clock(channel::never()),
            Arm::Child => End::Child,
            Arm::Token(token) => End::Token(token),
        })
    }

    /// Whether it was the child's end that was selected.
    fn complete(&mut self, operation: SelectedOperation<'_>, end: &End) -> bool {
        match end {
            End::Sender(channel, sender) => {
                let (message, sent) = self.message(*channel, Action::Nothing);
                if operation.send(sender, message).is_ok() {
                    sent.note();
                }
            }
            End::Receiver(channel, receiver) => {
                if let Ok(message) = operation.recv(receiver) {
                    self.has_received(*channel, message);
                }
            }
            End::Clock(receiver) => {
                let due = operation.recv(receiver);
                self.world.oracle.check(
                    due.is_ok_and(|due| due <= Instant::now()),
                    "a clock gave its message before its time",
                );
            }
            End::Child => operation.done(),
            End::Token(token) => {
                operation.done();
                self.world.oracle.check(
                    self.world.tokens[*token].is_cancelled(),
                    "a select found a token ready that was not cancelled",
                );
            }
        }
        matches!(end, End::Child)
    }

    fn select_macro(&mut self, send: usize, receive: usize, limit: Duration, biased: bool) {
        let (Some(sender), Some(receiver)) = (
            self.ends.senders[send].clone(),
            self.ends.receivers[receive].clone(),
        ) else {
            return;
        };
        let (message, sent) = self.message(send, Action::Nothing);
        let received = if biased {
            select_biased! {
                send(sender, message) -> result => {
                    result.is_ok().then(|| sent.note());
                    None
                },
                recv(receiver) -> message => message.ok(),
                default(limit) => None,
            }
        } else {
            select! {
                recv(receiver) -> message => message.ok(),
                send(sender, message) -> result => {
                    result.is_ok().then(|| sent.note());
                    None
                },
                recv(channel::after(limit)) -> _ => None,
            }
        };
        if let Some(message) = received {
            self.has_received(receive, message);
        }
    }
}
