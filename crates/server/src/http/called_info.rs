//! getCalledInfo (contract §6): what stands behind a number that an app shows. Always a number (`devType` 1): skill
//! queues have no calls of two legs here.

use serde::Serialize;

use super::auth::ApiTenant;
use super::body::{ApiBody, CALL_BODY};
use super::wire::{Reply, WireError, WrongType, object, text_field};

const MAX_NUMBER: usize = 32;
const NUMBER: u8 = 1;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    ret_code: &'static str,
    ret_msg: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Destination>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Destination {
    dev_type: u8,
    called: String,
}

/// `POST /apiaccess/CC-Management/v1/mobileAgent/getCalledInfo`
pub async fn query(
    ApiTenant(tenant): ApiTenant,
    ApiBody(body): ApiBody<CALL_BODY>,
) -> Result<Reply<impl Serialize>, WireError> {
    let object = object(&body)?;
    let text = |name| match text_field(&object, name) {
        Ok(given) => given.filter(|text| text.len() <= MAX_NUMBER),
        Err(WrongType) => None,
    };
    let refused = |ret_code, ret_msg| Ok(Reply(Answer { ret_code, ret_msg, result: None }));
    let (Some(mark), Some(_)) = (text("called"), text("caller")) else {
        return refused("4", "called and caller must be strings of 1 to 32 characters");
    };
    match tenant.settings.called_marks.get(&mark) {
        Some(called) => Ok(Reply(Answer {
            ret_code: "0",
            ret_msg: "success",
            result: Some(Destination { dev_type: NUMBER, called: called.clone() }),
        })),
        None => refused("5", "the tenant's called_marks have no such called"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::http::testing::World;

    const PATH: &str = "/apiaccess/CC-Management/v1/mobileAgent/getCalledInfo";

    #[tokio::test]
    async fn a_mark_leads_to_its_number() {
        let world = World::new().await;
        world.reset(|tenant| {
            tenant.settings.called_marks = [("100".to_owned(), "88884432".to_owned())].into();
        });
        let got = world.post(PATH, json!({"called": 100, "caller": "66666666"})).await;
        assert_eq!(
            got.text,
            r#"{"retCode":"0","retMsg":"success","result":{"devType":1,"called":"88884432"}}"#
        );
        for (code, body) in [
            ("4", json!({"caller": "66666666"})),
            ("4", json!({"called": "100"})),
            ("4", json!({"called": "1".repeat(33), "caller": "1"})),
            ("4", json!({"called": ["100"], "caller": "1"})),
            ("5", json!({"called": "101", "caller": "66666666"})),
        ] {
            assert_eq!(world.post(PATH, body.clone()).await.json()["retCode"], code, "{body}");
        }
    }
}
