//! The surroundings of the service in `dev` and in tests: a private Postgres and RabbitMQ, sample triggers, and a
//! receiver of webhooks. None of it runs in production.

pub mod demo_receiver;
pub mod samples;
pub mod services;
