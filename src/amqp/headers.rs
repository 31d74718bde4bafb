//! Names of headers. CloudEvents has no binding for AMQP 0-9-1: the event is the JSON body, and its attributes
//! are headers as well, for routing and for people.

/// CloudEvents `id`.
pub const ID: &str = "cloudEvents_id";
/// CloudEvents `source`.
pub const SOURCE: &str = "cloudEvents_source";
/// CloudEvents `type`.
pub const TYPE: &str = "cloudEvents_type";
/// CloudEvents `time`.
pub const TIME: &str = "cloudEvents_time";
/// CloudEvents `subject`.
pub const SUBJECT: &str = "cloudEvents_subject";
/// W3C Trace Context: version, trace id, parent id, flags.
pub const TRACEPARENT: &str = "traceparent";
/// W3C Trace Context: state of the vendors that take part in the trace.
pub const TRACESTATE: &str = "tracestate";
