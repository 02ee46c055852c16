use super::*;
use crate::application::DeployState;
use crate::event::Examination;

const WORDS: &str = "Progressing=False ProgressDeadlineExceeded: it has timed out";

fn shop_on(revision: &str, health: &str) -> Event {
    named("shop", revision, health)
}

fn named(name: &str, revision: &str, health: &str) -> Event {
    application(name, revision, health, |object| {
        object["spec"]["destination"] =
            json!({"server": "https://kubernetes.default.svc", "namespace": "shop"});
        object["status"]["resources"] = json!([
            {"group": "apps", "kind": "Deployment", "name": "web", "namespace": "shop"},
        ]);
    })
}

fn culprit() -> wire::Culprit {
    wire::Culprit {
        kind: "Deployment".into(),
        namespace: "shop".into(),
        name: "web".into(),
        message: WORDS.into(),
    }
}

fn answer(number: u64, culprit: Option<wire::Culprit>) -> Event {
    Event::Examined {
        number,
        application: key("shop"),
        culprit,
    }
}

fn examinations(effects: &[Effect]) -> Vec<&Examination> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Examine(examination) => Some(&**examination),
            _ => None,
        })
        .collect()
}

/// What the topic of the application is to say of the culprit.
fn told(effects: &[Effect]) -> Value {
    let payload = retained(effects, &Topic::Application("shop".into())).expect("it is published");
    serde_json::from_slice::<Value>(payload).unwrap()["culprit"].clone()
}

#[test]
fn a_degraded_application_is_told_with_the_deployment_at_fault() {
    let mut state = started();
    state.apply(at(1.0), shop_on(BAD, "Progressing"));
    state.apply(at(2.0), shop_on(BAD, "Degraded"));
    let effects = state.apply(at(2.5), Event::Tick);
    let asked = examinations(&effects);
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].suspects[0].name, "web");
    let effects = state.apply(at(2.6), answer(asked[0].number, Some(culprit())));
    assert_eq!(told(&effects)["message"], WORDS);
    let effects = state.apply(at(3.0), Event::Tick);
    let Some(Effect::Record(fact)) = effects.first() else {
        panic!("{effects:?}");
    };
    assert_eq!(fact.data["state"], "Degraded");
    assert_eq!(fact.data["culprit"]["name"], "web");
    assert_eq!(fact.data["culprit"]["message"], WORDS);
}

#[test]
fn it_is_asked_once_for_each_time_that_it_turns_degraded() {
    let mut state = started();
    let mut asked = 0;
    for second in 0..60 {
        let now = at(1.0 + f64::from(second));
        let mut effects = state.apply(now, shop_on(BAD, "Degraded"));
        effects.extend(state.apply(at(1.6 + f64::from(second)), Event::Tick));
        for examination in examinations(&effects) {
            asked += 1;
            let number = examination.number;
            state.apply(at(1.7 + f64::from(second)), answer(number, None));
        }
    }
    assert_eq!(asked, 1);
    state.apply(at(70.0), shop_on(GOOD, "Healthy"));
    state.apply(at(71.0), shop_on(GOOD, "Degraded"));
    let effects = state.apply(at(72.0), Event::Tick);
    assert_eq!(examinations(&effects).len(), 1, "it has turned so again");
}

#[test]
fn what_is_degraded_for_a_moment_is_not_asked() {
    let mut state = started();
    state.apply(at(1.0), shop_on(GOOD, "Degraded"));
    state.apply(at(1.3), shop_on(GOOD, "Healthy"));
    let effects = state.apply(at(5.0), Event::Tick);
    assert_eq!(examinations(&effects).len(), 0);
}

#[test]
fn the_culprit_goes_with_the_degradation() {
    let mut state = started();
    state.apply(at(1.0), shop_on(BAD, "Degraded"));
    state.apply(at(1.5), Event::Tick);
    state.apply(at(1.6), answer(1, Some(culprit())));
    let effects = state.apply(at(2.0), shop_on(GOOD, "Healthy"));
    assert_eq!(told(&effects), Value::Null);
    // An answer that was on its way meanwhile says nothing of what is there now.
    let effects = state.apply(at(2.1), answer(1, Some(culprit())));
    assert_eq!(effects, []);
}

#[test]
fn an_answer_that_never_comes_is_given_up() {
    let mut state = started();
    state.apply(at(1.0), shop_on(BAD, "Degraded"));
    assert_eq!(examinations(&state.apply(at(1.5), Event::Tick)).len(), 1);
    while let Some(due) = state.next_deadline() {
        let effects = state.apply(at(due.as_secs_f64()), Event::Tick);
        assert_eq!(examinations(&effects).len(), 0);
        assert!(due < Duration::from_secs(300), "it waits for ever");
    }
}

#[test]
fn of_many_that_fail_together_a_few_are_asked_at_a_time_and_all_in_the_end() {
    let mut state = started();
    for index in 0..50 {
        state.apply(at(1.0), named(&format!("many-{index}"), BAD, "Degraded"));
    }
    let (mut asked, mut most) = (std::collections::BTreeSet::new(), 0);
    let mut seconds = 1.5;
    while asked.len() < 50 {
        let effects = state.apply(at(seconds), Event::Tick);
        let due = examinations(&effects);
        most = most.max(due.len());
        for examination in due {
            assert!(asked.insert(examination.application.clone()));
            let done = Event::Examined {
                number: examination.number,
                application: examination.application.clone(),
                culprit: None,
            };
            state.apply(at(seconds), done);
        }
        seconds += 1.0;
        assert!(seconds < 30.0, "{asked:?}");
    }
    assert_eq!(most, 16);
}

#[test]
fn without_an_answer_everything_else_is_told_as_before() {
    let mut state = started();
    state.apply(at(1.0), shop_on(BAD, "Degraded"));
    state.apply(at(1.5), Event::Tick);
    let effects = state.apply(at(2.0), Event::Tick);
    assert_eq!(facts(&effects), [("edge.app.state", "shop")]);
    let snapshot = state.snapshot(at(2.0));
    assert_eq!(snapshot.applications["shop"].state, DeployState::Degraded);
}
