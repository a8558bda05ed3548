//! The order of services: those that others depend on come first.

use serde_json::{Map, Value};

/// Names in an order in which each comes after what it depends on; a circle is cut where it is entered.
pub(super) fn by_dependency(services: &Map<String, Value>) -> Vec<&str> {
    let mut order = Vec::new();
    let mut entered = Vec::new();
    for name in services.keys() {
        visit(name, services, &mut entered, &mut order);
    }
    order
}

fn visit<'s>(
    name: &'s str,
    services: &'s Map<String, Value>,
    entered: &mut Vec<&'s str>,
    order: &mut Vec<&'s str>,
) {
    if entered.contains(&name) {
        return;
    }
    entered.push(name);
    for other in depends_on(services.get(name)) {
        if let Some((other, _)) = services.get_key_value(&other) {
            visit(other, services, entered, order);
        }
    }
    order.push(name);
}

/// The services that one names in `depends_on`: a list, or a map with conditions.
pub(super) fn depends_on(service: Option<&Value>) -> Vec<String> {
    match service.and_then(|service| service.get("depends_on")) {
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(Value::Object(names)) => names.keys().cloned().collect(),
        _ => Vec::new(),
    }
}
