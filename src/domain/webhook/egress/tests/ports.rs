//! Ports of public addresses.

use super::*;

/// The ports on which people run receivers, and those of other protocols (glpi-project/glpi #24704, makeplane/plane #4598,
/// gnmyt/MySpeed #534).
#[test]
fn every_port_but_a_bad_one_is_allowed() {
    // n8n, Node-RED, Home Assistant, Odoo, Frappe, Jenkins, cPanel, Plesk, Cloudflare's ports for https, and others.
    for port in [
        80, 81, 443, 444, 1880, 1881, 2053, 2083, 2087, 2096, 3000, 3001, 4000, 4200, 4433, 4443, 5000, 5001,
        5173, 5601, 5678, 5679, 7071, 8000, 8008, 8069, 8080, 8081, 8088, 8123, 8443, 8444, 8888, 9000, 9090,
        9443, 10_000, 10_443, 30_443, 49_152, 65_535,
    ] {
        for host in ["8.8.8.8", "[2606:4700::1111]", "hooks.example"] {
            let url = Url::parse(&format!("https://{host}:{port}/webhook")).unwrap();
            assert_eq!(Policy::default().check_url(&url), Ok(()), "{url}");
        }
    }
    assert!(BAD_PORTS.is_sorted());
    for port in [0, 1, 21, 22, 23, 25, 53, 110, 143, 465, 587, 993, 2049, 5060, 6000, 6667, 10_080] {
        for host in ["8.8.8.8", "[2606:4700::1111]", "hooks.example"] {
            let url = Url::parse(&format!("https://{host}:{port}/webhook")).unwrap();
            assert_eq!(Policy::default().check_url(&url), Err(Blocked::Port), "{url}");
        }
    }
}
