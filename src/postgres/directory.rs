//! Loads the contacts that a batch can touch, locked, and writes back what changed.
//!
//! Lock order, the same in every worker: contacts by key, then identifiers by key, then the ledger.

use sqlx::PgConnection;
use strum::VariantArray as _;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{contact_row::ContactRow, links, provenance};
use crate::domain::{
    contact::{
        Contact, ContactId, Identifier,
        directory::{Changes, Directory, Merge},
        field::Field,
    },
    event::CompanyId,
};

/// Loads and locks the contacts that own one of `identifiers`.
///
/// A contact that another transaction merges away meanwhile is left out, and its identifiers look
/// unowned; [`save`] then finds them taken, and the caller begins again.
pub async fn load(
    conn: &mut PgConnection,
    identifiers: &[(CompanyId, Identifier)],
) -> Result<Directory, sqlx::Error> {
    let companies: Vec<&str> = identifiers.iter().map(|(company, _)| company.as_str()).collect();
    let kinds: Vec<&str> = identifiers.iter().map(|(_, identifier)| identifier.kind()).collect();
    let values: Vec<&str> = identifiers.iter().map(|(_, identifier)| identifier.value()).collect();
    let rows = sqlx::query_as!(
        ContactRow,
        r#"SELECT c.company_id, c.contact_id, c.version, c.name, c.identity, c.phone, c.email, c.company,
               c.position, c.birthday, c.zip_code, c.country, c.state, c.city, c.district, c.street, c.number,
               c.complement, c.provenance::text AS "provenance!", c.phones, c.emails, c.separations,
               c.created_at, c.updated_at
           FROM (SELECT DISTINCT i.company_id, i.contact_id
                 FROM UNNEST($1::text[], $2::text[], $3::text[]) AS k(company_id, kind, value)
                 JOIN contact_identifiers i USING (company_id, kind, value)) o
           JOIN contacts c USING (company_id, contact_id)
           ORDER BY c.company_id, c.contact_id
           FOR UPDATE OF c"#,
        &companies as &[&str],
        &kinds as &[&str],
        &values as &[&str],
    )
    .fetch_all(conn)
    .await?;
    let mut directory = Directory::default();
    for row in rows {
        directory.add(row.try_into()?);
    }
    Ok(directory)
}

/// The contact that `id` was merged into, or `id` itself.
pub(super) async fn living(
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

/// Writes the changes. `false` means that another transaction took one of the new identifiers
/// meanwhile: the caller rolls back and begins again.
pub async fn save(conn: &mut PgConnection, changes: &Changes) -> Result<bool, sqlx::Error> {
    if !changes.contacts.is_empty() {
        write_contacts(conn, &changes.contacts).await?;
    }
    if !changes.identifiers.is_empty() && !claim_identifiers(conn, &changes.identifiers).await? {
        return Ok(false);
    }
    if !changes.merges.is_empty() {
        let moved = move_identifiers(conn, &changes.moved).await?;
        if moved != changes.moved.len() as u64 {
            return Ok(false);
        }
        write_merges(conn, &changes.merges).await?;
        remove_contacts(conn, &changes.removed).await?;
    }
    Ok(true)
}

/// Inserts contacts, or replaces what is stored of them.
pub(super) async fn write_contacts(conn: &mut PgConnection, contacts: &[Contact]) -> Result<(), sqlx::Error> {
    let c = Columns::of(contacts);
    let column = |field| c.fields.get(field as usize).map_or(&[] as &[Option<&str>], Vec::as_slice);
    sqlx::query!(
        "INSERT INTO contacts (company_id, contact_id, version, created_at, updated_at, provenance, phones, emails, separations,
             name, identity, phone, email, company, position, birthday, zip_code, country, state, city, district, street,
             number, complement)
         SELECT company_id, contact_id, version, created_at, updated_at, provenance::jsonb,
             string_to_array(phones, ' '), string_to_array(emails, ' '), string_to_array(separations, ' '),
             name, identity, phone, email, company, position, birthday, zip_code, country, state, city, district, street,
             number, complement
         FROM UNNEST($1::text[], $2::uuid[], $3::bigint[], $4::timestamptz[], $5::timestamptz[], $6::text[], $7::text[],
             $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[],
             $16::text[], $17::text[], $18::text[], $19::text[], $20::text[], $21::text[], $22::text[], $23::text[],
             $24::text[])
             AS u(company_id, contact_id, version, created_at, updated_at, provenance, phones, emails, separations, name,
                 identity, phone, email, company, position, birthday, zip_code, country, state, city, district, street,
                 number, complement)
         ON CONFLICT (company_id, contact_id) DO UPDATE SET (version, created_at, updated_at, provenance, phones, emails,
             separations, name, identity, phone, email, company, position, birthday, zip_code, country, state, city,
             district, street, number, complement)
         = (excluded.version, excluded.created_at, excluded.updated_at, excluded.provenance, excluded.phones,
             excluded.emails, excluded.separations, excluded.name, excluded.identity, excluded.phone, excluded.email,
             excluded.company, excluded.position, excluded.birthday, excluded.zip_code, excluded.country, excluded.state,
             excluded.city, excluded.district, excluded.street, excluded.number, excluded.complement)",
        &c.companies as &[&str],
        &c.ids,
        &c.versions,
        &c.created,
        &c.updated,
        &c.provenance,
        &c.phones,
        &c.emails,
        &c.sides,
        column(Field::Name) as &[Option<&str>],
        column(Field::Identity) as &[Option<&str>],
        column(Field::Phone) as &[Option<&str>],
        column(Field::Email) as &[Option<&str>],
        column(Field::Company) as &[Option<&str>],
        column(Field::Position) as &[Option<&str>],
        column(Field::Birthday) as &[Option<&str>],
        column(Field::ZipCode) as &[Option<&str>],
        column(Field::Country) as &[Option<&str>],
        column(Field::State) as &[Option<&str>],
        column(Field::City) as &[Option<&str>],
        column(Field::District) as &[Option<&str>],
        column(Field::Street) as &[Option<&str>],
        column(Field::Number) as &[Option<&str>],
        column(Field::Complement) as &[Option<&str>],
    )
    .execute(conn)
    .await?;
    Ok(())
}

struct Columns<'a> {
    companies: Vec<&'a str>,
    ids: Vec<Uuid>,
    versions: Vec<i64>,
    created: Vec<OffsetDateTime>,
    updated: Vec<OffsetDateTime>,
    provenance: Vec<String>,
    // Lists with spaces between: no key and no side holds one.
    phones: Vec<String>,
    emails: Vec<String>,
    sides: Vec<String>,
    /// For each field, in declaration order, its value in each contact.
    fields: Vec<Vec<Option<&'a str>>>,
}

impl<'a> Columns<'a> {
    fn of(contacts: &'a [Contact]) -> Self {
        let keys = |kind: &str| -> Vec<String> {
            let of_kind = |contact: &Contact| {
                let keys = contact.keys.iter().filter(|key| key.kind() == kind).map(Identifier::value);
                keys.collect::<Vec<_>>().join(" ")
            };
            contacts.iter().map(of_kind).collect()
        };
        let sides = |contact: &Contact| contact.sides.iter().map(ToString::to_string).collect::<Vec<_>>();
        let column = |field| -> Vec<Option<&str>> {
            contacts
                .iter()
                .map(|contact| contact.values.get(field).map(|value| value.value.as_str()))
                .collect()
        };
        Self {
            companies: contacts.iter().map(|contact| contact.company.as_str()).collect(),
            ids: contacts.iter().map(|contact| contact.id.0).collect(),
            versions: contacts.iter().map(|contact| contact.version).collect(),
            created: contacts.iter().map(|contact| contact.created_at).collect(),
            updated: contacts.iter().map(|contact| contact.updated_at).collect(),
            provenance: contacts.iter().map(|contact| provenance::to_json(&contact.values)).collect(),
            phones: keys("phone"),
            emails: keys("email"),
            sides: contacts.iter().map(|contact| sides(contact).join(" ")).collect(),
            fields: Field::VARIANTS.iter().copied().map(column).collect(),
        }
    }
}

/// Identifiers and whose they are, as columns.
struct Owners<'a> {
    companies: Vec<&'a str>,
    kinds: Vec<&'a str>,
    values: Vec<&'a str>,
    ids: Vec<Uuid>,
}

impl<'a> Owners<'a> {
    fn of(identifiers: &'a [(CompanyId, Identifier, ContactId)]) -> Self {
        Self {
            companies: identifiers.iter().map(|(company, ..)| company.as_str()).collect(),
            kinds: identifiers.iter().map(|(_, identifier, _)| identifier.kind()).collect(),
            values: identifiers.iter().map(|(_, identifier, _)| identifier.value()).collect(),
            ids: identifiers.iter().map(|(.., owner)| owner.0).collect(),
        }
    }
}

/// Inserts identifiers. `false` where somebody owns one of them already.
async fn claim_identifiers(
    conn: &mut PgConnection,
    identifiers: &[(CompanyId, Identifier, ContactId)],
) -> Result<bool, sqlx::Error> {
    let o = Owners::of(identifiers);
    let claimed = sqlx::query!(
        "INSERT INTO contact_identifiers (company_id, kind, value, contact_id)
         SELECT * FROM UNNEST($1::text[], $2::text[], $3::text[], $4::uuid[])
         ON CONFLICT DO NOTHING",
        &o.companies as &[&str],
        &o.kinds as &[&str],
        &o.values as &[&str],
        &o.ids,
    )
    .execute(conn)
    .await?;
    Ok(claimed.rows_affected() == identifiers.len() as u64)
}

/// Gives stored identifiers to other contacts, and returns how many there were.
pub(super) async fn move_identifiers(
    conn: &mut PgConnection,
    moved: &[(CompanyId, Identifier, ContactId)],
) -> Result<u64, sqlx::Error> {
    let o = Owners::of(moved);
    let done = sqlx::query!(
        "UPDATE contact_identifiers i SET contact_id = k.contact_id
         FROM UNNEST($1::text[], $2::text[], $3::text[], $4::uuid[]) AS k(company_id, kind, value, contact_id)
         WHERE i.company_id = k.company_id AND i.kind = k.kind AND i.value = k.value",
        &o.companies as &[&str],
        &o.kinds as &[&str],
        &o.values as &[&str],
        &o.ids,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Makes the losers aliases, and repoints those that they had: each merge names the contact that lives
/// on at the end, so chains are flat.
pub(super) async fn write_merges(conn: &mut PgConnection, merges: &[Merge]) -> Result<(), sqlx::Error> {
    let companies: Vec<&str> = merges.iter().map(|merge| merge.company.as_str()).collect();
    let losers: Vec<Uuid> = merges.iter().map(|merge| merge.loser.0).collect();
    let winners: Vec<Uuid> = merges.iter().map(|merge| merge.winner.0).collect();
    let events: Vec<Uuid> = merges.iter().map(|merge| merge.stamp.event.key()).collect();
    sqlx::query!(
        "UPDATE contact_aliases a SET contact_id = m.winner
         FROM UNNEST($1::text[], $2::uuid[], $3::uuid[]) AS m(company_id, loser, winner)
         WHERE a.company_id = m.company_id AND a.contact_id = m.loser",
        &companies as &[&str],
        &losers,
        &winners,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "INSERT INTO contact_aliases (company_id, alias_id, contact_id, merged_by)
         SELECT * FROM UNNEST($1::text[], $2::uuid[], $3::uuid[], $4::uuid[])",
        &companies as &[&str],
        &losers,
        &winners,
        &events,
    )
    .execute(&mut *conn)
    .await?;
    let new_links: Vec<_> = merges.iter().map(links::NewLink::merged).collect();
    links::insert(conn, &new_links).await
}

/// Deletes contacts.
pub(super) async fn remove_contacts(
    conn: &mut PgConnection,
    removed: &[(CompanyId, ContactId)],
) -> Result<(), sqlx::Error> {
    let (companies, ids): (Vec<&str>, Vec<Uuid>) =
        removed.iter().map(|(company, id)| (company.as_str(), id.0)).unzip();
    sqlx::query!(
        "DELETE FROM contacts c USING UNNEST($1::text[], $2::uuid[]) AS k(company_id, contact_id)
         WHERE c.company_id = k.company_id AND c.contact_id = k.contact_id",
        &companies as &[&str],
        &ids,
    )
    .execute(conn)
    .await?;
    Ok(())
}
