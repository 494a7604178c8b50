use serde_json::{Value, json};

use crate::http::testing::{TENANT, World};
use crate::tenants::NewSoftphone;

const V1: &str = "/apiaccess/CC-Management/v1/mobileAgent/queryPhone";
const V2: &str = "/apiaccess/CC-Management/v2/mobileAgent/queryPhone";

async fn world(phones: u32) -> World {
    let world = World::new().await;
    for number in 0..phones {
        world.softphone(&format!("{}", 66_666_666 + number)).await;
    }
    world
}

#[tokio::test]
async fn a_page_of_softphones_with_their_passwords_and_the_registrar() {
    let world = world(1).await;
    let got = world.post(V1, json!({})).await;
    assert_eq!(
        got.text,
        r#"{"retCode":"0","retMsg":"success","result":{"total":1,"regIPAddress":"10.137.203.215","phone":[{"phoneNum":"66666666","password":"password of 66666666","id":"66666666","status":"0","remark":"","tenantId":"1"}],"regPort":5063}}"#
    );
    let got = world.post(V2, json!({"limit": "1", "offset": "0"})).await.json();
    let registrar = json!([{
        "regIPAddress": "10.137.203.215", "regPort": "5063", "sipServicePort": "5063",
        "sipServiceIp": "10.137.203.215"
    }]);
    assert_eq!(got["result"]["singleRegServ"], registrar);
    assert_eq!(got["result"]["phone"][0]["password"], "password of 66666666");
}

#[tokio::test]
async fn pages_are_bounded_and_a_suspended_phone_is_named_so() {
    let world = world(3).await;
    let suspended =
        NewSoftphone::new("66666669".into(), "12345678".into(), "Bob's".into(), true).unwrap();
    let sealer = &world.app.access.sealer;
    world.app.softphones.put(TENANT, suspended, false, sealer).await.unwrap();
    let numbers = async |body: Value| {
        let got = world.post(V1, body).await.json();
        assert_eq!(got["result"]["total"], 4);
        let phones = got["result"]["phone"].as_array().unwrap().clone();
        phones
            .iter()
            .map(|phone| phone["phoneNum"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(numbers(json!({"limit": "0"})).await, ["66666666"], "less than 1 is 1");
    assert_eq!(numbers(json!({"limit": 101})).await.len(), 4, "more than 100 is 100");
    assert_eq!(numbers(json!({"limit": "2", "offset": "1"})).await, ["66666667", "66666668"]);
    let last = world.post(V1, json!({"offset": 3})).await.json();
    let last = &last["result"]["phone"][0];
    assert_eq!((&last["status"], &last["remark"]), (&json!("1"), &json!("Bob's")));
}

#[tokio::test]
async fn what_there_is_no_page_for_has_its_code() {
    let world = world(0).await;
    let code = async |body: Value| {
        let got = world.post(V2, body).await;
        assert_eq!(got.status, 200);
        got.json()["retCode"].as_str().unwrap().to_owned()
    };
    assert_eq!(code(json!({})).await, "2");
    world.softphone("66666666").await;
    assert_eq!(code(json!({})).await, "0");
    for wrong in [json!({"limit": "ten"}), json!({"offset": "-1"}), json!({"offset": []})] {
        assert_eq!(code(wrong).await, "4");
    }
    world.reset(|tenant| tenant.access_codes.clear());
    assert_eq!(code(json!({})).await, "5");
    let mut dark = World::new().await;
    dark.unlisted();
    dark.softphone("66666666").await;
    assert_eq!(dark.post(V1, json!({})).await.json()["retCode"], "3");
    dark.reset(|tenant| tenant.settings.sip_service_address = Some("203.0.113.7:5060".into()));
    let own = dark.post(V1, json!({})).await.json();
    assert_eq!(own["result"]["regIPAddress"], "203.0.113.7");
}

#[tokio::test]
async fn a_password_under_a_lost_key_is_no_page() {
    let world = world(1).await;
    let mut row = world.app.softphones.of(TENANT).remove(0);
    row.sealed_password[20] ^= 1;
    world.app.store.put_softphone(row).await.unwrap();
    // As the next start would find it: the registrar cannot be told a password, and says so.
    assert!(world.app.softphones.load(&world.app.access.sealer).await.is_err());
}
