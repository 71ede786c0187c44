//! Laying files, drop-ins and defaults over each other (design decision 22).

use crate::yaml::{Map, Node, Value};

/// Lays `over` over `base`: maps are merged at every depth, everything else is replaced.
pub(crate) fn overlay(base: &mut Map, over: &Map) {
    for (key, node) in over {
        match base.iter_mut().find(|(known, _)| known.name == key.name) {
            Some((known, below)) => {
                if let (Value::Map(below), Value::Map(above)) = (&mut below.value, &node.value) {
                    overlay(below, above);
                } else {
                    *below = node.clone();
                    *known = key.clone();
                }
            }
            None => base.push((key.clone(), node.clone())),
        }
    }
}

/// Drops the keys with nothing behind them: in a later file that is how a key is taken back.
pub(crate) fn drop_nulls(map: &mut Map) {
    map.retain(|(_, node)| !node.is_null());
    for (_, Node { value, .. }) in map.iter_mut() {
        if let Value::Map(inner) = value {
            drop_nulls(inner);
        }
    }
}
