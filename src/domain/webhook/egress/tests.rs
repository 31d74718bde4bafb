//! Tests of allowed and refused addresses.

use super::*;

mod ports;

const HTTPS: u16 = 443;

fn policy(allow_http: bool, networks: &[&str]) -> Policy {
    let allowed_networks = networks.iter().map(|network| network.parse().unwrap()).collect();
    Policy { allow_http, allowed_networks, ..Policy::default() }
}

fn check_ip(policy: &Policy, ip: &str) -> Result<(), Blocked> {
    policy.check_address(SocketAddr::new(ip.parse().unwrap(), HTTPS))
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
        ff02::1 ff0e::1 4000::1 1::1 200::1 ::ffff:0:127.0.0.1 2606:4700::5efe:127.0.0.1 \
        2606:4700::200:5efe:10.0.0.1";
    for text in refused.split_whitespace() {
        assert!(matches!(check_ip(&Policy::default(), text), Err(Blocked::Address(_))), "{text}");
    }
}

#[test]
fn public_addresses_are_allowed() {
    let allowed = "1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.1 \
        169.253.255.255 172.15.255.255 172.32.0.0 192.0.1.1 192.167.255.255 192.169.0.0 198.17.255.255 \
        198.20.0.0 223.255.255.255 2001:200::1 2001:4860:4860::8888 2606:4700::1111 2a00:1450::1 \
        ::ffff:8.8.8.8 64:ff9b::8.8.8.8 2606:4700::5efe:8.8.8.8";
    for text in allowed.split_whitespace() {
        assert_eq!(check_ip(&Policy::default(), text), Ok(()), "{text}");
    }
}

#[test]
fn allowed_networks_allow_their_addresses_alone() {
    let policy = policy(false, &["10.20.0.0/16", "127.0.0.1/32", "fd00::/8"]);
    let allowed = |text: &str| check_ip(&policy, text).is_ok();
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
fn networks_are_parsed_with_an_optional_port() {
    for good in
        ["10.0.0.0/8", "10.0.0.0/8:1", "fd00::/8", "[fd00::/8]:8443", "0.0.0.0/0", "127.0.0.1/32:65535"]
    {
        assert!(good.parse::<AllowedNetwork>().is_ok(), "{good}");
    }
    for bad in [
        "",
        "10.0.0.0",
        "10.0.0.0/33",
        "10.0.0.0/8:",
        "10.0.0.0/8:0",
        "10.0.0.0/8:65536",
        "10.0.0.0/8:+80",
        "10.0.0.0/8:http",
        "[10.0.0.0/8]:80",
        "fd00::/8:8443",
        "[fd00::/8]",
        "[fd00::/8:8443",
        "localhost",
        "10.0.0.0:80",
        "[fd00::/8]:",
    ] {
        assert_eq!(bad.parse::<AllowedNetwork>(), Err(BadNetwork), "{bad}");
    }
}

#[test]
fn ports_are_checked_with_the_address() {
    let mut policy = policy(false, &["10.20.0.0/16:8443", "[fd00::/8]:9443", "127.0.0.0/8"]);
    let check = |policy: &Policy, text: &str| policy.check_address(text.parse().unwrap());
    for (text, expected) in [
        ("10.20.0.1:8443", Ok(())),
        ("10.20.0.1:443", Err(Blocked::Port)),
        ("[::ffff:10.20.0.1]:8443", Ok(())),
        ("10.21.0.1:8443", Err(Blocked::Address("a private address"))),
        ("[fd00::1]:9443", Ok(())),
        ("[fd00::1]:8443", Err(Blocked::Port)),
        ("127.0.0.1:35000", Ok(())),
        ("8.8.8.8:443", Ok(())),
        ("8.8.8.8:80", Ok(())),
        ("8.8.8.8:8443", Ok(())),
        ("8.8.8.8:22", Err(Blocked::Port)),
        ("[64:ff9b::8.8.8.8]:22", Err(Blocked::Port)),
    ] {
        assert_eq!(check(&policy, text), expected, "{text}");
    }
    // The list narrows, and cannot allow a bad port.
    policy.allowed_ports = vec![8443, 22];
    for (text, expected) in [
        ("8.8.8.8:443", Ok(())),
        ("8.8.8.8:8443", Ok(())),
        ("8.8.8.8:5678", Err(Blocked::Port)),
        ("8.8.8.8:80", Err(Blocked::Port)),
        ("8.8.8.8:22", Err(Blocked::Port)),
        ("127.0.0.1:35000", Ok(())),
        // An allowed port does not allow a private network.
        ("192.168.0.1:8443", Err(Blocked::Address("a private address"))),
    ] {
        assert_eq!(check(&policy, text), expected, "{text}");
    }
    policy.allow_http = true;
    assert_eq!(check(&policy, "8.8.8.8:80"), Ok(()));
}

#[test]
fn the_services_own_addresses_are_never_called() {
    let everything = policy(true, &["0.0.0.0/0", "::/0"]);
    let own = ["10.0.0.5:5672", "127.0.0.1:5432", "0.0.0.0:8080", "[fd00::7]:6000"];
    let policy = Policy { own: own.map(|own| own.parse().unwrap()).to_vec(), ..everything };
    for text in [
        "10.0.0.5:5672",
        "[::ffff:10.0.0.5]:5672",
        "[64:ff9b::10.0.0.5]:5672",
        "[64:ff9b:1:a00:0:500::]:5672",
        "[2002:a00:5::1]:5672",
        "[2606:4700::5efe:10.0.0.5]:5672",
        "[::10.0.0.5]:5672",
        "127.0.0.1:5432",
        "127.9.9.9:5432",
        "[::1]:5432",
        "0.0.0.0:5432",
        "0.1.2.3:5432",
        "[::]:5432",
        "127.0.0.1:8080",
        "[::1]:8080",
        "[::ffff:127.0.0.1]:8080",
        "[fd00::7]:6000",
    ] {
        assert_eq!(policy.check_address(text.parse().unwrap()), Err(Blocked::Own), "{text}");
    }
    for text in ["10.0.0.5:5671", "10.0.0.6:5672", "127.0.0.1:5672", "[fd00::8]:6000", "10.0.0.5:8080"] {
        assert_eq!(policy.check_address(text.parse().unwrap()), Ok(()), "{text}");
    }
    let said = Blocked::Own.to_string();
    assert!(!said.contains(|symbol: char| symbol.is_ascii_digit()), "{said}");
}

#[test]
fn other_schemes_and_userinfo_are_refused() {
    let check = |policy: &Policy, text: &str| policy.check_url(&Url::parse(text).unwrap());
    let (strict, open) = (policy(false, &[]), policy(true, &["127.0.0.0/8"]));
    assert_eq!(check(&strict, "https://hooks.example/x"), Ok(()));
    assert_eq!(check(&strict, "http://hooks.example/x"), Err(Blocked::Http));
    assert_eq!(check(&strict, "https://hooks.example:8443/x"), Ok(()));
    assert_eq!(check(&strict, "https://hooks.example:25/x"), Err(Blocked::Port));
    // Only its addresses show whether it is on loopback, where the settings allow every port.
    assert_eq!(check(&open, "https://hooks.example:25/x"), Ok(()));
    assert_eq!(check(&open, "http://hooks.example/x"), Ok(()));
    assert_eq!(check(&open, "http://hooks.example:8080/x"), Ok(()));
    assert_eq!(check(&open, "http://127.0.0.1:8080/x"), Ok(()));
    assert_eq!(check(&open, "http://10.0.0.1/x"), Err(Blocked::Address("a private address")));
    assert_eq!(check(&open, "https://user@hooks.example/"), Err(Blocked::Userinfo));
    assert_eq!(check(&open, "https://:secret@hooks.example/"), Err(Blocked::Userinfo));
    for text in ["ftp://hooks.example/", "file:///etc/passwd", "data:text/plain,x", "ws://hooks.example/"] {
        assert_eq!(check(&open, text), Err(Blocked::Scheme), "{text}");
    }
}

/// The decision about a URL under the default policy.
fn verdict(text: &str) -> &'static str {
    let Ok(url) = Url::parse(text) else { return "invalid" };
    match Policy::default().check_url(&url) {
        Ok(()) if matches!(url.host(), Some(Host::Domain(_))) => "name",
        Ok(()) => "allowed",
        Err(Blocked::Address(kind)) => kind,
        Err(Blocked::Http) => "http",
        Err(Blocked::Scheme) => "scheme",
        Err(Blocked::Userinfo) => "userinfo",
        Err(Blocked::Port) => "port",
        Err(Blocked::Own) => "own",
        Err(Blocked::Here) => "here",
    }
}

#[test]
fn every_spelling_of_an_address_is_recognized() {
    for (expected, spellings) in SPELLINGS {
        for text in *spellings {
            assert_eq!(verdict(text), *expected, "{text}");
        }
    }
    assert!(SPELLINGS.iter().map(|(_, spellings)| spellings.len()).sum::<usize>() >= 80);
}

const SPELLINGS: &[(&str, &[&str])] = &[
    (
        "a loopback address",
        &[
            "https://127.0.0.1/",
            "https://127.1/",
            "https://127.0.1/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0x7F.1/",
            "https://0x7f.0x0.0x0.0x1/",
            "https://0177.0.0.1/",
            "https://017700000001/",
            "https://0177.0x0.1/",
            "https://00000177.00.0.01/",
            "https://127.0.0.1./",
            "https://127.1./",
            "https://127.255.255.254/",
            "https://%31%32%37.0.0.1/",
            "https://127%2e0%2e0%2e1/",
            "https://0x7f.1:443/",
            "https://１２７.0.0.1/",
            "https://127。0。0。1/",
            "https://127．0．0．1/",
            "https://127｡0｡0｡1/",
            "https://①②⑦.⓪.⓪.①/",
            "https://127.0.\t0.1/",
            "https:\\\\127.0.0.1\\x",
            "https:127.0.0.1/",
            "https:////127.0.0.1/",
            "https://127.0.0.1\\@8.8.8.8/",
            "https://127.0.0.1?@8.8.8.8/",
            "https://127.0.0.1#@8.8.8.8/",
            "HTTPS://127.0.0.1/",
            "https://[::1]/",
            "https://[0:0:0:0:0:0:0:1]/",
            "https://[0000::0001]/",
            "https://[::0.0.0.1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:7f00:1]/",
            "https://[::FFFF:7F00:0001]/",
            "https://[64:ff9b::127.0.0.1]/",
            "https://[64:ff9b::7f00:1]/",
        ],
    ),
    (
        "an unspecified address",
        &[
            "https://0/",
            "https://0.0.0.0/",
            "https://0x0/",
            "https://00/",
            "https://[::]/",
            "https://[::]:443/",
            "https://[::ffff:0:0]/",
            "https://0.0.0.0./",
        ],
    ),
    (
        "a link-local address",
        &[
            "https://169.254.169.254/latest/meta-data/",
            "https://2852039166/",
            "https://0xa9fea9fe/",
            "https://0251.0376.0251.0376/",
            "https://169.254.43518/",
            "https://[::ffff:169.254.169.254]/",
            "https://[64:ff9b::a9fe:a9fe]/",
            "https://[fe80::1]/",
        ],
    ),
    (
        "a private address",
        &[
            "https://10.1/",
            "https://167772161/",
            "https://0300.0250.0.1/",
            "https://172.16.1/",
            "https://[::ffff:c0a8:1]/",
            "https://0xc0.0xa8.0.1/",
        ],
    ),
    ("a shared (carrier-grade NAT) address", &["https://100.100.100.200/", "https://1684301000/"]),
    (
        "an IPv4-compatible address",
        &["https://[::127.0.0.1]/", "https://[::7f00:1]/", "https://[::8.8.8.8]/"],
    ),
    ("an unassigned address", &["https://[::ffff:0:127.0.0.1]/", "https://[8000::1]/"]),
    (
        "a private translation address",
        &["https://[64:ff9b:1::127.0.0.1]/", "https://[64:ff9b:1:7f00:0:100::]/"],
    ),
    (
        "a 6to4 address",
        &["https://[2002:7f00:1::]/", "https://[2002:a9fe:a9fe::1]/", "https://[2002:808:808::1]/"],
    ),
    ("a Teredo address", &["https://[2001:0:53aa:64c:0:0:80ff:fffe]/"]),
    ("a private (unique local) address", &["https://[fd00:ec2::254]/", "https://[fc00::]/"]),
    ("a multicast address", &["https://224.0.0.1/", "https://[ff02::1]/"]),
    (
        "a reserved or broadcast address",
        &["https://255.255.255.255/", "https://4294967295/", "https://0xffffffff/"],
    ),
    // Names are checked when they are resolved.
    (
        "name",
        &[
            "https://localhost/",
            "https://localhost./",
            "https://LOCALHOST/",
            "https://foo.localhost/",
            "https://127.0.0.1.example/",
            "https://metadata.internal/",
            "https://xn--bcher-kva.example/",
            "https://bücher.example/",
            "https://a_b.example/",
            "https://ⓛocalhost/",
            "https://local%68ost/",
        ],
    ),
    (
        "allowed",
        &[
            "https://8.8.8.8/",
            "https://134744072/",
            "https://0x08080808/",
            "https://[2001:4860:4860::8888]/",
            "https://[::ffff:8.8.8.8]/",
            "https://8.8.8.8:0443/",
        ],
    ),
    (
        "invalid",
        &[
            "https://",
            "https:///",
            "https://127.0.0.256/",
            "https://4294967296/",
            "https://0x100000000/",
            "https://1.2.3.4.5/",
            "https://127.0.0.08/",
            "https://[fe80::1%25eth0]/",
            "https://[fe80::1%eth0]/",
            "https://[::1/",
            "https://[127.0.0.1]/",
            "https://[::ffff:127.1]/",
            "https://127.0.0.1%00/",
            "https://127.0.0.1%20/",
            "https://a b/",
            "https://hooks.example:0x50/",
            "https://hooks.example:65536/",
            "https://%/",
            "//127.0.0.1/",
            "127.0.0.1",
            "https://127.0.0.1..1/",
        ],
    ),
    (
        "userinfo",
        &[
            "https://user@8.8.8.8/",
            "https://8.8.8.8@127.0.0.1/",
            "https://a:b@127.0.0.1/",
            "https://:b@hooks.example/",
            "https://hooks.example%40x@127.0.0.1/",
            "https://8.8.8.8%23@127.0.0.1/",
        ],
    ),
    (
        "port",
        &[
            "https://8.8.8.8:22/",
            "https://hooks.example:6667/",
            "https://hooks.example:010080/",
            "https://[2606:4700::1111]:25/",
            "https://8.8.8.8:0/",
        ],
    ),
    ("http", &["http://hooks.example/", "http://127.0.0.1/", "http://8.8.8.8:443/"]),
    (
        "scheme",
        &[
            "ftp://127.0.0.1/",
            "file:///etc/passwd",
            "gopher://127.0.0.1:6379/_x",
            "javascript:alert(1)",
            "unix:/run/x",
        ],
    ),
];
