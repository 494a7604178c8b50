use std::sync::Arc;

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::access::{Rights, Sealer};
use crate::config::{Defaults, Fraud};
use crate::http::ordering::TenantView;
use crate::http::{anonymous_call, bidirectional_call};
use crate::speech::speaker::SpeakerSettings;
use crate::tenants::softphone_password;
use crate::voices::Found;

/// One start of a server over a store that outlives it.
struct Start {
    tenants: Tenants,
    voices: VoiceLibrary,
    access: Access,
    softphones: Softphones,
    first: Option<FirstRun>,
}

async fn start(
    store: &Store,
    directory: &TempDir,
    config: &Config,
) -> Result<Start, ProvisionError> {
    let sealer = Sealer::from_file(&directory.path().join("seal.key")).unwrap();
    let access = Access::new(store.clone(), sealer, None);
    let voices =
        VoiceLibrary::open(store.clone(), directory.path().join("voice"), []).await.unwrap();
    let speech = SpeakerSettings::in_directory(directory.path().join("speech"));
    let tls = crate::callbacks::tls::client_config(None).unwrap();
    let speaker = Speaker::open(speech, tls).unwrap();
    let tenants = Tenants::default();
    let softphones = Softphones::new(store.clone(), config.sip.realm.clone());
    let bindings = NumberBindings::new(store.clone());
    let provisioner = Provisioner {
        store,
        config,
        access: &access,
        voices: &voices,
        speaker: &speaker,
        softphones: &softphones,
        bindings: &bindings,
    };
    let first = provisioner.run(&tenants, 1_700_000_000_000).await?;
    Ok(Start { tenants, voices, access, softphones, first })
}

fn configured(toml: &str) -> Config {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("offhook.toml");
    std::fs::write(&path, toml).unwrap();
    Config::read(Some(&path), []).unwrap()
}

const ONE: &str = r#"
[[tenant]]
id = 7
name = "Example"
app_key = "key"
app_secret = "0123456789abcdef"
access_codes = ["100"]
ring_limit_s = 20
callback_shared_key = "shared"
"#;

#[tokio::test]
async fn the_first_start_makes_a_tenant_that_can_call() {
    let (store, directory) = (Store::memory(), tempfile::tempdir().unwrap());
    let begun = start(&store, &directory, &Config::default()).await.unwrap();
    let first = begun.first.expect("it was the first run");
    let tenant = begun.tenants.by_app_key(&first.app_key).unwrap();
    assert_eq!(tenant.app_secret_sha256, sha256(first.app_secret.as_bytes()));
    assert_eq!(tenant.access_codes, ["2222201", "95599"]);
    for (number, routed) in [("8899", true), ("88884432", true), ("6666614", false)] {
        let trunk = tenant.settings.route(number).map(|trunk| trunk.to_string());
        assert_eq!(trunk, routed.then(|| "sim".to_owned()), "{number}");
    }
    let Some(Found::Recording(recording)) =
        begun.voices.read(tenant.id, |shelf| shelf.find("100001"))
    else {
        panic!("no first recording")
    };
    let audio = std::fs::read(begun.voices.file(&recording)).unwrap();
    let clip = media::Clip::from_stored(&audio).unwrap();
    assert!((2..20).contains(&clip.duration().as_secs()), "{:?}", clip.duration());

    let phone = begun.softphones.find(tenant.id, "66666666").expect("the softphone of page 001");
    let password = softphone_password(&begun.access.sealer, &phone.row).unwrap();
    assert_eq!(password, first.softphone_password);
    assert!(tenant.settings.anonymous_call.enabled);

    the_pages_examples_are_judged_as_printed(&begun.softphones, &tenant);

    let again = start(&store, &directory, &Config::default()).await.unwrap();
    assert_eq!(again.first, None, "key and secret are told once");
    assert!(again.tenants.by_app_key(&first.app_key).is_some());
    assert!(again.voices.read(tenant.id, |shelf| shelf.find("100001")).is_some());
}

/// Pages 000 and 001: the one is taken, the other ends with the printed refusal.
fn the_pages_examples_are_judged_as_printed(softphones: &Softphones, tenant: &Tenant) {
    let (defaults, fraud) = (&Defaults::default(), &Fraud::default());
    let body = json!({"caller": 8888888, "softPhone": 66666666, "called": 6666614});
    let wish = bidirectional_call::wish_v3(body.as_object().unwrap());
    let view = TenantView { tenant, defaults, fraud };
    let directory = bidirectional_call::Directory { view, softphones };
    let refused = bidirectional_call::judge(wish, directory).unwrap_err();
    assert_eq!((refused.code(), &*refused.to_string()), (5, "Called is not configured"));
    let wish = anonymous_call::Wish {
        called: Ok(Some("88884432".into())),
        call_data: Ok(Some("1".into())),
        caller_present: Ok(Some("95599".into())),
    };
    assert_eq!(anonymous_call::judge(wish, view).unwrap().access_code, "2222201");
}

#[tokio::test]
async fn tenants_of_the_file_are_applied_at_each_start() {
    let (store, directory) = (Store::memory(), tempfile::tempdir().unwrap());
    let begun = start(&store, &directory, &configured(ONE)).await.unwrap();
    assert_eq!(begun.first, None, "there is a tenant");
    let id = TenantId(7);
    assert_eq!(begun.tenants.by_id(id).unwrap().settings.ring_limit_s, Some(20));
    assert!(begun.tenants.by_id(id).unwrap().from_file);
    let sealed = store.secret(id, CALLBACK_SHARED_KEY).await.unwrap().unwrap();
    assert!(!sealed.windows(6).any(|window| window == b"shared"));
    assert_eq!(begun.access.sealer.open(id, CALLBACK_SHARED_KEY, &sealed).unwrap(), b"shared");

    let changed = configured(&ONE.replace("ring_limit_s = 20", "ring_limit_s = 30"));
    let again = start(&store, &directory, &changed).await.unwrap();
    assert_eq!(again.tenants.by_id(id).unwrap().settings.ring_limit_s, Some(30));
    let gone = start(&store, &directory, &Config::default()).await.unwrap();
    assert!(!gone.tenants.by_id(id).unwrap().from_file, "it stays, and is the database's now");
    assert_eq!(gone.first, None);
}

#[tokio::test]
async fn softphones_of_the_file_are_applied_at_each_start() {
    let (store, directory) = (Store::memory(), tempfile::tempdir().unwrap());
    let two = format!(
        "{ONE}softphones = [{{ number = \"1\", password = \"password 1\", remark = \"Ann's\" }},
         {{ number = \"2\", password = \"password 2\", suspended = true }}]\n"
    );
    let begun = start(&store, &directory, &configured(&two)).await.unwrap();
    assert_eq!(begun.softphones.of(TenantId(7)).len(), 2);
    assert_eq!(begun.softphones.users().len(), 1, "a suspended one may not register");
    let again = start(&store, &directory, &configured(ONE)).await.unwrap();
    assert!(again.softphones.of(TenantId(7)).is_empty(), "they stood in the file only");
}

#[tokio::test]
async fn what_cannot_be_applied_names_the_tenant() {
    let (store, directory) = (Store::memory(), tempfile::tempdir().unwrap());
    start(&store, &directory, &configured(ONE)).await.unwrap();
    let taken = configured(&ONE.replace("id = 7", "id = 8"));
    let error = start(&store, &directory, &taken).await.err().unwrap().to_string();
    assert!(error.contains("[[tenant]] 8") && error.contains("app_key"), "{error}");

    let mut row = store.tenant(TenantId(7)).await.unwrap().unwrap();
    row.settings = json!({"of_a_newer_binary": true});
    store.put_tenant(row).await.unwrap();
    let error = start(&store, &directory, &Config::default()).await.err().unwrap().to_string();
    assert!(error.contains("tenant 7") && error.contains("of_a_newer_binary"), "{error}");
}

#[tokio::test]
async fn a_token_of_a_provisioned_tenant_is_its_own() {
    let (store, directory) = (Store::memory(), tempfile::tempdir().unwrap());
    let begun = start(&store, &directory, &configured(ONE)).await.unwrap();
    let access = Arc::new(begun.access);
    let issued = access.issue_bearer(TenantId(7), 60, 0).await.unwrap();
    let rights = access.authenticate(&issued.token, 59_999).await.unwrap();
    assert_eq!(rights, Some(Rights::Tenant(TenantId(7))));
    assert_eq!(access.authenticate(&issued.token, 60_000).await.unwrap(), None);
}
