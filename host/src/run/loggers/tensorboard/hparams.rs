//! The options of a run for TensorBoard's HPARAMS tab: messages of `tensorboard/plugins/hparams/plugin_data.proto`.
//!
//! A run says how it started and how it ended, and not what the experiment's columns are (`_hparams_/experiment`): TensorBoard takes these from
//! the first run that says so, and options that other runs have besides would not be shown. Without it, columns are gathered from every run.

use serde_json::{Map, Value};

use super::super::protobuf::ProtoWriter;
use super::super::seconds;
use crate::config::document::leaves;
use crate::config::log::LOG;

/// The plugin's name.
pub(super) const PLUGIN: &str = "hparams";
/// Tag of [`session_start`].
pub(super) const START: &str = "_hparams_/session_start_info";
/// Tag of [`session_end`].
pub(super) const END: &str = "_hparams_/session_end_info";

/// `HParamsPluginData { session_start_info: { hparams, start_time_secs } }`.
pub(super) fn session_start(options: &Map<String, Value>) -> Vec<u8> {
    let own = format!("{LOG}.");
    ProtoWriter::of(|data| {
        data.message(3, |start| {
            for (name, value) in leaves(options).into_iter().filter(|(name, value)| !name.starts_with(&own) && !value.is_null()) {
                start.message(1, |entry| {
                    entry.text(1, &name);
                    // google.protobuf.Value
                    entry.message(2, |field| match &value {
                        Value::Number(number) => field.double(2, number.as_f64().unwrap_or(f64::NAN)),
                        Value::Bool(flag) => field.varint(4, u64::from(*flag)),
                        Value::String(text) => field.text(3, text),
                        other => field.text(3, &other.to_string()),
                    });
                });
            }
            start.double(5, seconds());
        });
    })
}

/// `HParamsPluginData { session_end_info: { status: STATUS_SUCCESS, end_time_secs } }`.
pub(super) fn session_end() -> Vec<u8> {
    ProtoWriter::of(|data| {
        data.message(4, |end| {
            end.varint(1, 1);
            end.double(2, seconds());
        });
    })
}
