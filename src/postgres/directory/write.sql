-- New contacts, changed contacts, which are locked, and new identifiers, in one round trip.
WITH contact AS (
    SELECT * FROM UNNEST($1::boolean[], $2::text[], $3::uuid[], $4::bigint[], $5::timestamptz[], $6::timestamptz[], $7::text[],
        $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[],
        $17::text[], $18::text[], $19::text[], $20::text[], $21::text[], $22::text[], $23::text[], $24::text[], $25::text[])
        AS u(is_new, company_id, contact_id, version, created_at, updated_at, provenance, phones, emails, separations, name,
            identity, phone, email, company, position, birthday, zip_code, country, state, city, district, street, number,
            complement)),
created AS (
    INSERT INTO contacts (company_id, contact_id, version, created_at, updated_at, provenance, phones, emails, separations,
        name, identity, phone, email, company, position, birthday, zip_code, country, state, city, district, street, number,
        complement)
    SELECT company_id, contact_id, version, created_at, updated_at, provenance, string_to_array(phones, ' '),
        string_to_array(emails, ' '), string_to_array(separations, ' '), name, identity, phone, email, company, position,
        birthday, zip_code, country, state, city, district, street, number, complement
    FROM contact WHERE is_new),
changed AS (
    UPDATE contacts c SET (version, created_at, updated_at, provenance, phones, emails, separations, name, identity, phone,
        email, company, position, birthday, zip_code, country, state, city, district, street, number, complement)
        = (u.version, u.created_at, u.updated_at, u.provenance, string_to_array(u.phones, ' '),
            string_to_array(u.emails, ' '), string_to_array(u.separations, ' '), u.name, u.identity, u.phone, u.email,
            u.company, u.position, u.birthday, u.zip_code, u.country, u.state, u.city, u.district, u.street, u.number,
            u.complement)
    FROM contact u
    WHERE NOT u.is_new AND c.company_id = u.company_id AND c.contact_id = u.contact_id
    RETURNING 1),
claimed AS (
    INSERT INTO contact_identifiers (company_id, kind, value, contact_id)
    SELECT * FROM UNNEST($26::text[], $27::text[], $28::text[], $29::uuid[])
    ON CONFLICT DO NOTHING
    RETURNING 1)
SELECT (SELECT count(*) FROM changed) AS "changed!", (SELECT count(*) FROM claimed) AS "claimed!"
