//! Tests of which addresses are allowed.

use super::*;

fn policy(allow_http: bool, networks: &[&str]) -> Policy {
    let allowed_networks = networks.iter().map(|network| network.parse().unwrap()).collect();
    Policy { allow_http, allowed_networks }
}

#[test]
fn addresses_that_are_not_public_are_refused() {
    let refused = "0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.127.255.255 127.0.0.1 127.255.255.255 \
        169.254.0.1 169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.170 192.0.2.1 \
        192.88.99.1 192.168.0.1 192.168.255.255 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 \
        224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 :: ::1 ::127.0.0.1 ::8.8.8.8 \
        ::ffff:127.0.0.1 ::ffff:10.1.2.3 ::ffff:169.254.169.254 64:ff9b::127.0.0.1 64:ff9b::10.0.0.1 \
        64:ff9b:1::1 100::1 2001::1 2001:2::1 2001:10::1 2001:20::1 2001:1ff:ffff::1 2001:db8::1 \
        2002:7f00:1:: 2002:808:808:: 3fff::1 5f00::1 fc00::1 fd12:3456:789a::1 fe80::1 febf::1 fec0::1 \
        ff02::1 ff0e::1 4000::1 1::1 200::1 ::ffff:0:127.0.0.1";
    for text in refused.split_whitespace() {
        let ip: IpAddr = text.parse().unwrap();
        assert!(matches!(Policy::default().check_ip(ip), Err(Blocked::Address(_))), "{text}");
    }
}

#[test]
fn public_addresses_are_allowed() {
    let allowed = "1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.1 \
        169.253.255.255 172.15.255.255 172.32.0.0 192.0.1.1 192.167.255.255 192.169.0.0 198.17.255.255 \
        198.20.0.0 223.255.255.255 2001:200::1 2001:4860:4860::8888 2606:4700::1111 2a00:1450::1 \
        ::ffff:8.8.8.8 64:ff9b::8.8.8.8";
    for text in allowed.split_whitespace() {
        assert_eq!(Policy::default().check_ip(text.parse().unwrap()), Ok(()), "{text}");
    }
}

#[test]
fn allowed_networks_open_what_they_hold() {
    let policy = policy(false, &["10.20.0.0/16", "127.0.0.1/32", "fd00::/8"]);
    let allowed = |text: &str| policy.check_ip(text.parse().unwrap()).is_ok();
    for text in ["10.20.0.1", "127.0.0.1", "::ffff:10.20.3.4", "64:ff9b::10.20.3.4", "fd12::1", "8.8.8.8"] {
        assert!(allowed(text), "{text}");
    }
    for text in
        ["10.21.0.1", "127.0.0.2", "::ffff:10.21.3.4", "64:ff9b::10.21.3.4", "fc00::1", "::1", "::127.0.0.1"]
    {
        assert!(!allowed(text), "{text}");
    }
}

#[test]
fn every_spelling_of_a_literal_is_seen() {
    let spellings = "https://127.0.0.1/ https://127.1/ https://127.0.1/ https://2130706433/ https://0x7f000001/ \
        https://0x7f.1/ https://0177.0.0.1/ https://017700000001/ https://127.0.0.1./ https://0/ \
        https://%31%32%37.0.0.1/ https://１２７.0.0.1/ https://[::1]/ https://[::ffff:127.0.0.1]/ \
        https://[::ffff:7f00:1]/ https://[0:0:0:0:0:0:0:1]/ https://[::]:8443/ \
        https://169.254.169.254/latest";
    for text in spellings.split_whitespace() {
        let checked = Policy::default().check_url(&Url::parse(text).unwrap());
        assert!(matches!(checked, Err(Blocked::Address(_))), "{text}");
    }
}

#[test]
fn schemes_and_userinfo() {
    let check = |policy: &Policy, text: &str| policy.check_url(&Url::parse(text).unwrap());
    let (strict, open) = (policy(false, &[]), policy(true, &["127.0.0.0/8"]));
    assert_eq!(check(&strict, "https://hooks.example/x"), Ok(()));
    assert_eq!(check(&strict, "http://hooks.example/x"), Err(Blocked::Http));
    assert_eq!(check(&open, "http://hooks.example/x"), Ok(()));
    assert_eq!(check(&open, "http://127.0.0.1:8080/x"), Ok(()));
    assert_eq!(check(&open, "http://10.0.0.1/x"), Err(Blocked::Address("a private address")));
    assert_eq!(check(&open, "https://user@hooks.example/"), Err(Blocked::Userinfo));
    assert_eq!(check(&open, "https://:secret@hooks.example/"), Err(Blocked::Userinfo));
    for text in ["ftp://hooks.example/", "file:///etc/passwd", "data:text/plain,x", "ws://hooks.example/"] {
        assert_eq!(check(&open, text), Err(Blocked::Scheme), "{text}");
    }
}
