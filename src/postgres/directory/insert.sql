-- New contacts and new identifiers.
WITH created AS (
    INSERT INTO contacts (company_id, contact_id, version, created_at, updated_at, provenance, phones, emails, separations,
        name, identity, phone, email, company, position, birthday, zip_code, country, state, city, district, street, number,
        complement)
    SELECT company_id, contact_id, version, created_at, updated_at, provenance, string_to_array(phones, ' '),
        string_to_array(emails, ' '), string_to_array(separations, ' '), name, identity, phone, email, company, position,
        birthday, zip_code, country, state, city, district, street, number, complement
    FROM UNNEST($1::text[], $2::uuid[], $3::bigint[], $4::timestamptz[], $5::timestamptz[], $6::text[], $7::text[], $8::text[],
        $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[],
        $18::text[], $19::text[], $20::text[], $21::text[], $22::text[], $23::text[], $24::text[])
        AS u(company_id, contact_id, version, created_at, updated_at, provenance, phones, emails, separations, name, identity,
            phone, email, company, position, birthday, zip_code, country, state, city, district, street, number, complement))
INSERT INTO contact_identifiers (company_id, kind, value, contact_id)
SELECT * FROM UNNEST($25::text[], $26::text[], $27::text[], $28::uuid[])
ON CONFLICT DO NOTHING
