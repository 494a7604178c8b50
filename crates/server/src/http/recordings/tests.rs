use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::events::EventKind;
use serde_json::{Value, json};

use crate::http::testing::{TENANT, World, settings, wav};
use crate::http::tests::{CREATE_V2, QUERY, UPLOAD, printed};
use crate::tenants::{Review, TenantSettings};
use crate::voices::Found;

fn upload() -> Value {
    json!({
        "locale": "zh_CN", "voiceType": "0", "fileType": "wav",
        "callBackUrl": "http://hooks.example.com/upload", "fileInfo": STANDARD.encode(wav())
    })
}

fn upload_with(key: &str, value: Value) -> Value {
    let mut body = upload();
    body[key] = value;
    body
}

async fn plays(world: &World, voice_id: &str) -> String {
    let mut body = printed();
    body["playList"] = json!([{"voiceId": voice_id}]);
    world.post(CREATE_V2, body).await.json()["retCode"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_upload_is_checked_stored_approved_and_reported() {
    let world = World::new().await;
    let got = world.post(UPLOAD, upload_with("voiceFileName", json!("hello.wav"))).await;
    let reply = got.json();
    assert_eq!(
        (&reply["returnCode"], &reply["description"]),
        (&json!("0"), &json!("File uploaded successfully."))
    );
    let id = reply["fileId"].as_str().unwrap();
    assert!(id.len() >= 18 && id.bytes().all(|b| b.is_ascii_digit()), "{id}");
    assert_eq!(plays(&world, id).await, "0");

    let found = world.app.voices.read(TENANT, |shelf| shelf.find_named("hello.wav"));
    let Some(Found::Recording(recording)) = found else { panic!("not on the shelf") };
    let stored = std::fs::read(world.app.voices.file(&recording)).unwrap();
    assert_eq!(media::Clip::from_stored(&stored).unwrap().duration().as_millis(), 500);

    let due = world.app.store.callbacks_due(crate::app::unix_ms() + 1000, 10).await.unwrap();
    assert_eq!((due.len(), &*due[0].url), (1, "http://hooks.example.com/upload"));
    let EventKind::RecordingReviewed { review } = &due[0].event.kind else { panic!("{due:?}") };
    assert_eq!((&*review.voice_id, review.approved), (id, true));
    assert!(review.file_name.starts_with("Y:/IVR/1/voice/0/"), "{}", review.file_name);
}

#[tokio::test]
async fn a_restart_finds_what_was_uploaded() {
    let world = World::new().await;
    let reply = world.post(UPLOAD, upload()).await.json();
    let id = reply["fileId"].as_str().unwrap();
    let directory = world.app.config.data_directory.join("voice");
    let reopened = crate::voices::VoiceLibrary::open(world.app.store.clone(), directory, [TENANT])
        .await
        .unwrap();
    let Some(Found::Recording(recording)) = reopened.read(TENANT, |shelf| shelf.find(id)) else {
        panic!("{id} is gone")
    };
    assert!(reopened.file(&recording).exists());
}

#[tokio::test]
async fn what_cannot_be_stored_says_why_and_leaves_nothing() {
    let world = World::new().await;
    assert_eq!(
        world.post(UPLOAD, upload_with("name", json!("taken"))).await.json()["returnCode"],
        "0"
    );
    let text = STANDARD.encode("this is no audio at all, whatever its name says");
    let cut = STANDARD.encode(&wav()[..30]);
    let large = STANDARD.encode(vec![0; 8 * 1024 * 1024 + 1]);
    let cases = [
        ("fileInfo", json!(text)),
        ("fileInfo", json!(cut)),
        ("fileInfo", json!(large)),
        ("fileInfo", json!("no base64 *")),
        ("fileInfo", json!("")),
        ("fileInfo", json!(null)),
        ("voiceType", json!("9")),
        ("fileType", json!("ogg")),
        ("voiceFileName", json!("taken")),
        ("voiceFileName", json!("n".repeat(65))),
        ("callBackUrl", json!("http://evil.example.com/")),
        ("submit", json!("perhaps")),
    ];
    for (key, value) in cases {
        let got = world.post(UPLOAD, upload_with(key, value.clone())).await;
        let reply = got.json();
        let shown = value.to_string().chars().take(40).collect::<String>();
        assert_eq!(reply["returnCode"], "1", "{key}: {shown}: {}", got.text);
        assert!(!reply["description"].as_str().unwrap().is_empty() && reply["fileId"].is_null());
    }
    let (total, _) = world.app.store.voice_recordings(TENANT, None, 0, 10).await.unwrap();
    assert_eq!(total, 1);
    let files = std::fs::read_dir(world.app.config.data_directory.join("voice/1")).unwrap();
    assert_eq!(files.count(), 1);
}

#[tokio::test]
async fn a_manual_review_goes_through_all_its_states() {
    let world = World::with(TenantSettings { review: Review::Manual, ..settings() }).await;
    let draft = world.post(UPLOAD, upload_with("submit", json!("false"))).await.json();
    let id = draft["fileId"].as_str().unwrap();
    assert_eq!(plays(&world, id).await, "19");
    let step = async |verb: &str, body: Value| {
        world.post(&format!("/v1/recordings/{id}/{verb}"), body).await
    };
    assert_eq!(step("approve", json!({})).await.status, 409);
    assert_eq!(step("submit", json!({})).await.json()["status"], "submitted");
    assert_eq!(plays(&world, id).await, "20");
    assert!(
        world.app.store.callbacks_due(crate::app::unix_ms() + 1000, 10).await.unwrap().is_empty()
    );
    let rejected = step("reject", json!({"comment": "too loud"})).await.json();
    assert_eq!(
        (&rejected["status"], &rejected["comment"]),
        (&json!("rejected"), &json!("too loud"))
    );
    assert_eq!(plays(&world, id).await, "21");
    assert_eq!(
        step("approve", json!({"comment": "on second thought"})).await.json()["status"],
        "approved"
    );
    assert_eq!(plays(&world, id).await, "0");
    let due = world.app.store.callbacks_due(crate::app::unix_ms() + 1000, 10).await.unwrap();
    let verdicts: Vec<_> = due
        .iter()
        .map(|due| match &due.event.kind {
            EventKind::RecordingReviewed { review } => (review.approved, review.comment.as_str()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(verdicts, [(false, "too loud"), (true, "on second thought")]);
    assert_eq!(step("approve", json!({"comment": 7})).await.status, 400);
    assert_eq!(world.post("/v1/recordings/404/approve", json!({})).await.status, 404);
}

#[tokio::test]
async fn the_query_lists_what_is_approved() {
    let world = World::new().await;
    for name in ["a.wav", "b.wav", "c.wav"] {
        world.post(UPLOAD, upload_with("name", json!(name))).await;
    }
    world.post(UPLOAD, upload_with("submit", json!(false))).await;
    world.template("Hello ${TXT_8}").await;
    let reply = world.post(QUERY, json!({})).await.json();
    assert_eq!(reply["returnCode"], "0");
    let names: Vec<_> =
        reply["voiceInfo"].as_array().unwrap().iter().map(|v| v["name"].clone()).collect();
    assert_eq!(names, ["a.wav", "b.wav", "c.wav"]);
    let first = &reply["voiceInfo"][0];
    assert_eq!(
        (&first["type"], &first["tenant_id"], &first["status"]),
        (&json!("0"), &json!("1"), &json!("2"))
    );
    assert!(first["uploaddate"].is_i64() && first["voice_id"].is_string());
    let page = world.post(QUERY, json!({"offset": "1", "limit": 1, "type": "0"})).await.json();
    assert_eq!(
        (page["voiceInfo"].as_array().unwrap().len(), &page["voiceInfo"][0]["name"]),
        (1, &json!("b.wav"))
    );
    let texts = world.post(QUERY, json!({"type": 2, "limit": 5000})).await.json();
    assert_eq!(texts["voiceInfo"][0]["voicecontent"], "Hello ${TXT_8}");
    assert_eq!(world.post(QUERY, json!({"type": 1})).await.json()["returnCode"], "1");
    assert_eq!(world.post(QUERY, json!({"offset": -1})).await.status, 400);
}
