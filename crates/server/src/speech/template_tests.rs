use super::*;
use proptest::prelude::*;

fn fill(template: &str, values: &[&str]) -> Result<String, FillError> {
    template.parse::<Template>().unwrap().fill(values).map(|filled| filled.to_string())
}

#[test]
fn the_documented_examples() {
    assert_eq!(
        fill("尊敬的${TXT_8}您的初始密码为${NUM_6}。", &["王女士", "048213"]),
        Err(FillError::TooLong { position: 1, limit: 8 }), // three characters are nine bytes
    );
    assert_eq!(
        fill("尊敬的${TXT_8}您的初始密码为${NUM_6}。", &["王总", "048213"]).unwrap(),
        "尊敬的王总您的初始密码为<say-as interpret-as=\"digits\">048213</say-as>。",
    );
    assert_eq!(
        fill("请于${DATE},${TIME}前领取您的快递。", &["2026/11/05", "18:30"]).unwrap(),
        "请于<say-as interpret-as=\"date\" format=\"ymd\">2026/11/05</say-as>,\
         <say-as interpret-as=\"time\" format=\"hms24\">18:30</say-as>前领取您的快递。",
    );
}

#[test]
fn templates_that_keep_the_rules() {
    for text in [
        "Your table is ready.",
        "It costs $5 {not a variable} or 10 } more",
        "Code ${NUM_32} for ${TXT_1}",
        "At ${DATE}, ${TIME}",
        "At ${DATE}，${TIME}",
        "At ${TIME},${DATE}",
        "On ${DATE} at ${TIME}",
        "On ${DATE}${DATE}",
        "a${NUM_1}${NUM_1}${NUM_1}${NUM_1}${NUM_1}${NUM_1}${NUM_1}${NUM_1}${NUM_1}${NUM_1}",
        &"a".repeat(MAX_TEMPLATE),
    ] {
        let template: Template = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(template.to_string(), text);
    }
}

#[test]
fn templates_that_break_a_rule() {
    let unknown = |name: &str| TemplateError::UnknownVariable(name.to_owned());
    let long = "汉".repeat(167);
    let many = format!("a{}", "${TXT_1}".repeat(11));
    for (text, expected) in [
        ("", TemplateError::Empty),
        (" \n ", TemplateError::Empty),
        (long.as_str(), TemplateError::TooLong(501)),
        ("${TXT_8} hello", TemplateError::BeginsWithVariable),
        ("  ${DATE} hello", TemplateError::BeginsWithVariable),
        ("${", TemplateError::BeginsWithVariable),
        ("Hello ${TXT_8", TemplateError::NotClosed(6)),
        ("汉 ${DATE} ${", TemplateError::NotClosed(12)),
        ("Hello ${}", unknown("")),
        ("Hello ${NAME}", unknown("NAME")),
        ("Hello ${txt_8}", unknown("txt_8")),
        ("Hello ${TXT}", unknown("TXT")),
        ("Hello ${TXT_}", unknown("TXT_")),
        ("Hello ${TXT_0}", unknown("TXT_0")),
        ("Hello ${TXT_33}", unknown("TXT_33")),
        ("Hello ${NUM_+6}", unknown("NUM_+6")),
        ("Hello ${NUM_06}", unknown("NUM_06")),
        ("Hello ${NUM_99999999999999999999}", unknown("NUM_99999999999999999999")),
        ("Hello ${DATE }", unknown("DATE ")),
        ("At ${DATE}${TIME}", TemplateError::DateTouchesTime),
        ("At ${TIME}${DATE}", TemplateError::DateTouchesTime),
        ("At ${DATE} ${TIME}", TemplateError::DateTouchesTime),
        (many.as_str(), TemplateError::TooManyVariables(11)),
        ("bell \u{7}", TemplateError::ControlCharacter('\u{7}')),
    ] {
        assert_eq!(text.parse::<Template>().unwrap_err(), expected, "{text}");
    }
}

#[test]
fn values_that_do_not_fill() {
    let template = "Hi ${TXT_8}, code ${NUM_4} on ${DATE}, ${TIME}";
    let good = ["Ann", "0042", "2028/02/29", "23:59:59"];
    assert!(fill(template, &good).is_ok());
    let format = |position, expected| FillError::Format { position, expected };
    let (digits, date, time) =
        ("a number of digits 0 to 9", "a date as YYYY/MM/DD", "a time as HH:MM or HH:MM:SS");
    for (position, value, expected, code) in [
        (1, "123456789", FillError::TooLong { position: 1, limit: 8 }, 13),
        (2, "12345", FillError::TooLong { position: 2, limit: 4 }, 13),
        (3, &*"1".repeat(33), FillError::TooLong { position: 3, limit: 32 }, 13),
        (1, "a$b", FillError::Character { position: 1, found: '$' }, 14),
        (1, "a{b", FillError::Character { position: 1, found: '{' }, 14),
        (4, "}", FillError::Character { position: 4, found: '}' }, 14),
        (1, "a\nb", FillError::Character { position: 1, found: '\n' }, 14),
        (2, "", format(2, digits), 14),
        (2, "12a", format(2, digits), 14),
        (2, "-1", format(2, digits), 14),
        (2, "١", format(2, digits), 14),
        (3, "2026/02/29", format(3, date), 14),
        (3, "2026/13/01", format(3, date), 14),
        (3, "2026/1/1", format(3, date), 14),
        (3, "2026-01-01", format(3, date), 14),
        (3, "0000/01/01", format(3, date), 14),
        (3, "2026/01/01/01", format(3, date), 14),
        (4, "24:00", format(4, time), 14),
        (4, "12:60", format(4, time), 14),
        (4, "12:00:60", format(4, time), 14),
        (4, "1:00", format(4, time), 14),
        (4, "12:00:00:00", format(4, time), 14),
    ] {
        let mut values = good;
        values[position - 1] = value;
        let error = fill(template, &values).unwrap_err();
        assert_eq!((&error, error.return_code()), (&expected, code), "{value}");
    }
    for given in [0, 3, 5, 11] {
        let error = fill(template, &vec!["1"; given]).unwrap_err();
        assert_eq!((&error, error.return_code()), (&FillError::Count { given, needed: 4 }, 15));
    }
    assert_eq!(fill("No variables", &["1"]), Err(FillError::Count { given: 1, needed: 0 }));
    assert_eq!(fill("No variables", &[]).unwrap(), "No variables");
}

proptest! {
    #[test]
    fn any_text_is_a_template_or_an_error_and_a_template_prints_itself(text in "[ a,汉$\u{7}]{0,3}(\\$\\{(DATE|TIME|TXT_[0-9]{1,2}|NUM_4|X)\\}?[ a,汉$]{0,2}){0,12}") {
        if let Ok(template) = text.parse::<Template>() {
            prop_assert_eq!(template.to_string(), text.clone());
            prop_assert!(text.len() <= MAX_TEMPLATE && template.variables().count() <= MAX_VALUES);
        }
    }

    #[test]
    fn what_was_filled_in_comes_back_from_the_disk(name in "[^${}\\p{Cc}]{0,8}", code in "[0-9]{1,6}") {
        let template: Template = "Hi ${TXT_32} & <b>, ${NUM_6}".parse().unwrap();
        let filled = template.fill(&[&name, &code]).unwrap();
        prop_assert_eq!(filled.to_string().parse::<FilledText>().unwrap(), filled);
    }

    #[test]
    fn arbitrary_values_never_panic(values in prop::collection::vec(".{0,40}", 4)) {
        let template: Template = "Hi ${TXT_8}, code ${NUM_4} on ${DATE}, ${TIME}".parse().unwrap();
        prop_assert!(template.fill(&values).is_err() || values[1].len() <= 4);
    }
}
