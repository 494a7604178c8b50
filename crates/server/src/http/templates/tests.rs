use serde_json::{Value, json};

use crate::http::testing::{TENANT, World};
use crate::http::tests::{CREATE_V2, TEMPLATE, printed};

fn template(text: &str) -> Value {
    json!({"name": "code1", "scene": "3", "speed": 100, "volume": 60,
           "voicename": "cn_roumeiqian_common", "voicecontent": {"textcontent": text}})
}

#[tokio::test]
async fn a_template_can_be_played_as_soon_as_it_is_made() {
    let world = World::new().await;
    let reply =
        world.post(TEMPLATE, template("Your code is ${NUM_6}, good until ${TIME}.")).await.json();
    assert_eq!(reply["returnCode"], "0");
    let id = reply["templateId"].as_str().unwrap();
    let mut call = printed();
    call["playList"] = json!([{"templateId": id, "templateParams": ["4821", "18:30"]}]);
    assert_eq!(world.post(CREATE_V2, call).await.json()["retCode"], "0");
    let stored = world.app.store.voice_template(TENANT, id).await.unwrap().unwrap();
    assert_eq!(
        (stored.speed, stored.volume, &*stored.voice_name),
        (100, 60, "cn_roumeiqian_common")
    );
}

#[tokio::test]
async fn the_defaults_are_those_of_the_contract() {
    let world = World::new().await;
    let body = json!({"name": "中文名1", "voicecontent": {"textcontent": "Hello"}});
    let reply = world.post(TEMPLATE, body).await.json();
    let stored =
        world.app.store.voice_template(TENANT, reply["templateId"].as_str().unwrap()).await;
    let stored = stored.unwrap().unwrap();
    assert_eq!((stored.speed, stored.volume, &*stored.voice_name), (0, 50, "cn_kefuman_common"));
}

#[tokio::test]
async fn what_is_no_template_says_why() {
    let world = World::new().await;
    let with = |key: &str, value: Value| {
        let mut body = template("Hello");
        body[key] = value;
        body
    };
    let cases = [
        ("name", with("name", json!(null))),
        ("name", with("name", json!("n".repeat(51)))),
        ("name", with("name", json!("a b"))),
        ("scene", with("scene", json!("1"))),
        ("speed", with("speed", json!(-201))),
        ("speed", with("speed", json!(501))),
        ("speed", with("speed", json!("fast"))),
        ("volume", with("volume", json!(101))),
        ("voicename", with("voicename", json!("somebody"))),
        ("voicecontent", with("voicecontent", json!("Hello"))),
        ("textcontent", with("voicecontent", json!({}))),
        ("textcontent", template("${TXT_8} first")),
        ("textcontent", template("Hello ${NAME}")),
        ("textcontent", template("at ${DATE}${TIME}")),
        ("textcontent", template(&"x".repeat(501))),
        ("speech.languages.other", template("Привет")),
    ];
    for (part, body) in cases {
        let got = world.post(TEMPLATE, body.clone()).await;
        let reply = got.json();
        assert_eq!(reply["returnCode"], "1", "{body}");
        assert!(reply["description"].as_str().unwrap().contains(part), "{body}: {reply}");
    }
    assert_eq!(world.app.store.voice_templates(TENANT, 0, 10).await.unwrap().0, 0);
}

#[tokio::test]
async fn a_language_that_the_tenants_engine_cannot_speak_is_refused() {
    let world = World::new().await;
    world.reset(|tenant| {
        let chosen = [("zh".to_owned(), "flite".to_owned())].into();
        let speech = crate::speech::config::SpeechConfig::default().with_languages(&chosen);
        tenant.speech = std::sync::Arc::new(speech.unwrap());
    });
    let reply = world.post(TEMPLATE, template("请于${DATE},${TIME}前领取您的快递。")).await.json();
    assert_eq!(reply["returnCode"], "1");
    assert!(reply["description"].as_str().unwrap().contains("espeak-ng"), "{reply}");
}
