//! Ports of public addresses.

use super::*;

/// Where people run receivers, and what listens there: a source for each.
const OF_RECEIVERS: &[(u16, &str)] = &[
    (80, "RFC 9110, 4.2.1: http"),
    (444, "https://github.com/glpi-project/glpi/issues/24704: https beside another server"),
    (1880, "https://nodered.org/docs/getting-started/local: Node-RED"),
    (
        2053,
        "https://developers.cloudflare.com/fundamentals/reference/network-ports/: https behind Cloudflare",
    ),
    (2083, "as above: cPanel"),
    (2087, "as above: its administration"),
    (2096, "as above: its webmail"),
    (3000, "https://expressjs.com/en/starter/hello-world.html: Node"),
    (3001, "https://github.com/louislam/uptime-kuma: its port"),
    (4200, "https://angular.dev/cli/serve: Angular"),
    (4433, "https://docs.openssl.org/master/man1/openssl-s_server/: its port"),
    (4443, "https://github.com/makeplane/plane/issues/4598: https of a container"),
    (5000, "https://flask.palletsprojects.com/en/stable/quickstart/: Flask"),
    (5173, "https://vite.dev/config/server-options: Vite"),
    (5601, "https://www.elastic.co/guide/en/kibana/current/settings.html: Kibana"),
    (5678, "https://docs.n8n.io/hosting/configuration/environment-variables/deployment/: n8n"),
    (7071, "https://learn.microsoft.com/en-us/azure/azure-functions/functions-run-local: Azure Functions"),
    (8000, "https://docs.djangoproject.com/en/stable/ref/django-admin/#runserver: Django"),
    (8008, "https://github.com/gnmyt/MySpeed/issues/534: another port for http"),
    (8069, "https://www.odoo.com/documentation/18.0/administration/on_premise/deploy.html: Odoo"),
    (8080, "https://tomcat.apache.org/tomcat-10.1-doc/config/http.html: Tomcat, Jenkins"),
    (8081, "as above: the second one"),
    (8088, "https://docs.splunk.com/Documentation/Splunk/latest/Data/UsetheHTTPEventCollector: Splunk"),
    (8123, "https://www.home-assistant.io/integrations/http/: Home Assistant"),
    (8443, "https://core.telegram.org/bots/webhooks: Telegram's webhooks, Plesk"),
    (8888, "https://jupyter-server.readthedocs.io/en/latest/: Jupyter"),
    (9000, "https://docs.portainer.io/start/install-ce: Portainer"),
    (9090, "https://prometheus.io/docs/prometheus/latest/getting_started/: Prometheus"),
    (9443, "https://docs.portainer.io/start/install-ce: Portainer with TLS"),
    (10_000, "https://webmin.com/docs/: Webmin"),
    (30_443, "https://kubernetes.io/docs/concepts/services-networking/service/#type-nodeport: a node's port"),
    (49_152, "RFC 6335, 6: the first port that nobody owns"),
    (65_535, "RFC 6335, 6: the last port"),
];

/// Of other protocols, which the Fetch standard blocks, and a source for each.
const OF_OTHERS: &[(u16, &str)] = &[
    (0, "https://fetch.spec.whatwg.org/#port-blocking"),
    (1, "https://fetch.spec.whatwg.org/#port-blocking: tcpmux"),
    (21, "https://fetch.spec.whatwg.org/#port-blocking: ftp"),
    (22, "https://fetch.spec.whatwg.org/#port-blocking: ssh"),
    (23, "https://fetch.spec.whatwg.org/#port-blocking: telnet"),
    (25, "https://fetch.spec.whatwg.org/#port-blocking: smtp"),
    (53, "https://fetch.spec.whatwg.org/#port-blocking: domain"),
    (110, "https://fetch.spec.whatwg.org/#port-blocking: pop3"),
    (143, "https://fetch.spec.whatwg.org/#port-blocking: imap"),
    (465, "https://fetch.spec.whatwg.org/#port-blocking: submissions"),
    (587, "https://fetch.spec.whatwg.org/#port-blocking: submission"),
    (993, "https://fetch.spec.whatwg.org/#port-blocking: imaps"),
    (2049, "https://fetch.spec.whatwg.org/#port-blocking: nfs"),
    (5060, "https://fetch.spec.whatwg.org/#port-blocking: sip"),
    (6000, "https://fetch.spec.whatwg.org/#port-blocking: x11"),
    (6667, "https://fetch.spec.whatwg.org/#port-blocking: irc"),
    (10_080, "https://fetch.spec.whatwg.org/#port-blocking: amanda"),
];

#[test]
fn every_port_but_a_bad_one_is_allowed() {
    assert!(BAD_PORTS.is_sorted());
    let good = OF_RECEIVERS.iter().map(|row| (row, Ok(())));
    let bad = OF_OTHERS.iter().map(|row| (row, Err(Blocked::Port)));
    for ((port, source), expected) in good.chain(bad) {
        for host in ["8.8.8.8", "[2606:4700::1111]", "hooks.example"] {
            let url = Url::parse(&format!("https://{host}:{port}/webhook")).unwrap();
            assert_eq!(Policy::default().check_url(&url), expected, "{url} ({source})");
        }
    }
}
