//! The environment of the service in `dev` and in tests: a private Postgres and RabbitMQ, sample triggers, and a
//! webhook receiver. None of it runs in production.

pub mod demo_receiver;
pub mod samples;
pub mod services;
