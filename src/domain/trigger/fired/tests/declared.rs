//! The parameters of a chain, which are variables of all of its webhooks.

use super::*;

#[test]
fn parameters_of_each_trigger_of_the_chain_are_known() {
    let action = json!({"type": "WEBHOOK", "url": "https://h.example/?plan=$interest"});
    let next = json!([{"name": "notify", "parameters": {"properties": {"plan": {}}}, "action": action}]);
    let event = with(with(event(), "/data/next", next), "/data/arguments/interest", Value::Null);
    let fired = read(event.to_string().as_bytes()).unwrap();
    let declared = fired.variables(None).declared;
    assert!(declared.declares("interest") && declared.declares("plan"));
    assert!(!declared.declares("plans") && !declared.declares("user_id"));
}
