//! The example pipelines keep the rules that were learnt from a real Drone.

pub(super) const PIPELINES: [(&str, &str); 2] = [
    (
        "docker",
        include_str!("../../config/gitops/drone/docker/.drone.yml"),
    ),
    (
        "exec",
        include_str!("../../config/gitops/drone/exec/.drone.yml"),
    ),
];

pub(super) use crate::support::guide::GUIDE;

/// What is code in a pipeline, without comments.
fn code(text: &str) -> String {
    let is_code = |line: &&str| !line.trim_start().starts_with('#');
    text.lines().filter(is_code).collect::<Vec<_>>().join("\n")
}

#[test]
fn nothing_is_pasted_into_the_pipeline_by_parameters() {
    for (kind, text) in PIPELINES {
        assert!(!code(text).contains("${"), "{kind}");
    }
}

#[test]
fn one_at_a_time_for_the_right_events_with_a_last_step_always() {
    for (kind, text) in PIPELINES {
        let code = code(text);
        for wanted in [
            "type: ",
            "event: [custom, promote, rollback]",
            "concurrency:\n  limit: 1",
            "status: [success, failure]",
        ] {
            assert!(code.contains(wanted), "{kind}: {wanted}");
        }
        for secret in ["signing_key", "password", "node_keys"] {
            let upper = secret.to_uppercase();
            let given = code.lines().any(|line| {
                (line.contains(secret) || line.contains(&upper)) && line.contains("from_secret")
            });
            assert!(given, "{kind}: {secret} is no secret");
        }
    }
}

#[test]
fn the_exec_runner_has_its_own_ways() {
    let code = code(PIPELINES[1].1);
    assert!(!code.contains("settings:"), "they are ignored there");
    assert!(
        code.contains("exec /usr/bin/edge-agent drone"),
        "a cancel must reach it"
    );
    assert!(!code.contains("image:"), "there are none");
}
