//! The living contact of an id: the contact itself, or the one that it was merged into.

use sqlx::PgConnection;

use super::contact_row::ContactRow;
use crate::domain::{
    contact::{Contact, ContactId},
    event::CompanyId,
};

/// How often [`lock`] looks for a contact that is merged or unmerged while it waits for its lock.
const MAX_ROUNDS: usize = 10;

/// A living contact, locked until the transaction ends.
pub struct Living {
    /// The contact.
    pub contact: Contact,
    /// The ids that were merged into it, in order.
    pub aliases: Vec<ContactId>,
    /// The greatest version that any of these ids has had.
    pub version: i64,
}

/// Locks the living contact of `id`. `None` if no contact has this id.
///
/// # Errors
/// When the database fails, or holds an unreadable contact.
pub async fn lock(
    conn: &mut PgConnection,
    company: &CompanyId,
    id: ContactId,
) -> Result<Option<Living>, sqlx::Error> {
    let mut expected = resolve(conn, company, id).await?;
    for _ in 0..MAX_ROUNDS {
        let contact = lock_once(conn, company, id).await?;
        // A merge or an unmerge may have changed where the id leads before this transaction had the lock. It cannot
        // while it has it.
        let living = resolve(conn, company, id).await?;
        match contact {
            Some(contact) if contact.id == living => {
                let (aliases, versions): (Vec<_>, Vec<_>) =
                    aliases(conn, company, living).await?.into_iter().unzip();
                let version = versions.into_iter().fold(contact.version, i64::max);
                return Ok(Some(Living { contact, aliases, version }));
            }
            None if living == expected => return Ok(None),
            _ => expected = living,
        }
    }
    Ok(None)
}

/// The contact that `id` was merged into, or `id` itself. Another transaction may merge or unmerge it at any time.
pub(super) async fn resolve(
    conn: &mut PgConnection,
    company: &CompanyId,
    id: ContactId,
) -> Result<ContactId, sqlx::Error> {
    let living = sqlx::query_scalar!(
        "SELECT contact_id FROM contact_aliases WHERE company_id = $1 AND alias_id = $2",
        company.as_str(),
        id.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(living.map_or(id, ContactId))
}

async fn lock_once(
    conn: &mut PgConnection,
    company: &CompanyId,
    id: ContactId,
) -> Result<Option<Contact>, sqlx::Error> {
    let row = sqlx::query_as!(
        ContactRow,
        r#"SELECT company_id, contact_id, version, name, identity, phone, email, company, position, birthday, zip_code,
             country, state, city, district, street, number, complement, provenance, phones,
             emails, separations, created_at, updated_at
         FROM contacts WHERE company_id = $1 AND contact_id =
             coalesce((SELECT contact_id FROM contact_aliases WHERE company_id = $1 AND alias_id = $2), $2)
         FOR UPDATE"#,
        company.as_str(),
        id.0,
    )
    .fetch_optional(conn)
    .await?;
    row.map(Contact::try_from).transpose()
}

async fn aliases(
    conn: &mut PgConnection,
    company: &CompanyId,
    living: ContactId,
) -> Result<Vec<(ContactId, i64)>, sqlx::Error> {
    let aliases = sqlx::query!(
        "SELECT alias_id, version FROM contact_aliases WHERE company_id = $1 AND contact_id = $2 ORDER BY 1",
        company.as_str(),
        living.0,
    )
    .fetch_all(conn)
    .await?;
    Ok(aliases.into_iter().map(|row| (ContactId(row.alias_id), row.version)).collect())
}
