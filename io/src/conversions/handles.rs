//! Conversions of types that wrap one of std's with a handle, which is not a socket, and what a child can be given.

macro_rules! handle_conversions {
    ($Type:ident, $Std:ty) => {
        const _: () = {
            use std::os::windows::io::{
                AsHandle, AsRawHandle, BorrowedHandle, IntoRawHandle, OwnedHandle, RawHandle,
            };

            impl AsHandle for $Type {
                fn as_handle(&self) -> BorrowedHandle<'_> {
                    self.0.as_handle()
                }
            }

            impl AsRawHandle for $Type {
                fn as_raw_handle(&self) -> RawHandle {
                    self.0.as_raw_handle()
                }
            }

            impl IntoRawHandle for $Type {
                fn into_raw_handle(self) -> RawHandle {
                    self.0.into_raw_handle()
                }
            }

            impl From<OwnedHandle> for $Type {
                fn from(handle: OwnedHandle) -> Self {
                    Self(handle.into())
                }
            }

            impl From<$Type> for OwnedHandle {
                fn from(ours: $Type) -> Self {
                    ours.0.into()
                }
            }

            impl From<$Std> for $Type {
                fn from(std: $Std) -> Self {
                    Self(std)
                }
            }

            impl From<$Type> for $Std {
                fn from(ours: $Type) -> Self {
                    ours.0
                }
            }

            impl From<$Type> for std::process::Stdio {
                fn from(ours: $Type) -> Self {
                    ours.0.into()
                }
            }

            impl std::fmt::Debug for $Type {
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    self.0.fmt(f)
                }
            }
        };
    };
}

pub(crate) use handle_conversions;
