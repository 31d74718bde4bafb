use sqlx::PgConnection;
pub struct NewDelivery;
pub async fn insert(_c: &mut PgConnection, _d: &[NewDelivery]) -> Result<(), sqlx::Error> { Ok(()) }
