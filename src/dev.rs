//! What `dev` and the tests need around the service: private instances of Postgres and RabbitMQ,
//! and a receiver for webhooks. Nothing of it runs in production.

pub mod demo_receiver;
pub mod samples;
pub mod services;
