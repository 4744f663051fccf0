//! The worked scenarios U1–U24 of the contract and everything beyond it as stories, one file per
//! subject, with the differences that Stead's design makes. What a story writes is compared with a
//! golden transcript; the invariants are checked by the world at every step.

#[path = "../world/mod.rs"]
mod world;

mod budget;
mod claims;
mod conditions;
mod creation;
mod doubt;
mod explain;
mod growth;
mod history;
mod memory;
mod order;
mod ownership;
mod partition;
mod pause;
mod preparing;
mod progress;
mod recreate;
mod render;
mod reserve;
mod reset;
mod reset_order;
mod rollback;
mod scaling;
mod status;
mod updates;

use expect_test::Expect;
use k8s_openapi::api::apps::v1::{StatefulSetOrdinals, StatefulSetSpec, StatefulSetUpdateStrategy};
use world::{parallel, retention};

fn check(told: &str, expected: Expect) {
    expected.assert_eq(told);
}

fn on_delete(spec: &mut StatefulSetSpec) {
    spec.update_strategy = Some(StatefulSetUpdateStrategy { type_: Some("OnDelete".to_owned()), rolling_update: None });
}

fn start_at(spec: &mut StatefulSetSpec, start: i32) {
    spec.ordinals = Some(StatefulSetOrdinals { start: Some(start) });
}
