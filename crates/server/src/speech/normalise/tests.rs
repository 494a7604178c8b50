use super::*;
use proptest::prelude::*;

fn check(markup: &str, expected: &str) {
    let text: FilledText = markup.parse().unwrap();
    let words = spoken(&text, language_of(&text.words()));
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(words, expected, "{markup}");
}

fn digits(digits: &str) -> String {
    format!("<say-as interpret-as=\"digits\">{digits}</say-as>")
}

fn date(date: &str) -> String {
    format!("<say-as interpret-as=\"date\" format=\"ymd\">{date}</say-as>")
}

fn time(time: &str) -> String {
    format!("<say-as interpret-as=\"time\" format=\"hms24\">{time}</say-as>")
}

#[test]
fn languages() {
    for (text, language) in [
        ("Your code", Language::English),
        ("Grüße, señor №1 ½", Language::English),
        ("12345", Language::English),
        ("", Language::English),
        ("您的验证码", Language::Chinese),
        ("VIP 卡", Language::Chinese),
        ("〇", Language::Chinese),
        ("Здравствуйте", Language::Other),
        ("お元気ですか", Language::Other),
        ("안녕하세요", Language::Other),
        ("مرحبا", Language::Other),
    ] {
        assert_eq!(language_of(text), language, "{text}");
    }
}

#[test]
fn typed_pieces_in_english() {
    check(
        &format!("Your code is {}.", digits("048213")),
        "Your code is zero four eight two one three .",
    );
    check(&format!("x{}y", digits("7")), "x seven y");
    check(&format!("On {}", date("2026/11/05")), "On November fifth, twenty twenty six");
    check(&format!("On {}", date("2005/01/31")), "On January thirty first, two thousand five");
    check(&format!("On {}", date("2000/06/20")), "On June twentieth, two thousand");
    check(&format!("On {}", date("1905/02/12")), "On February twelfth, nineteen oh five");
    check(&format!("On {}", date("1900/12/30")), "On December thirtieth, nineteen hundred");
    check(&format!("At {}", time("14:30")), "At two thirty p.m.");
    check(&format!("At {}", time("09:05")), "At nine oh five a.m.");
    check(&format!("At {}", time("00:00")), "At midnight");
    check(&format!("At {}", time("12:00")), "At noon");
    check(&format!("At {}", time("00:00:01")), "At twelve and one second a.m.");
    check(&format!("At {}", time("23:59:59")), "At eleven fifty nine and fifty nine seconds p.m.");
}

#[test]
fn typed_pieces_in_chinese() {
    check(&format!("验证码{}。", digits("048213")), "验证码零四八二一三。");
    check(
        &format!("请于{},{}前", date("2026/11/05"), time("18:30")),
        "请于二零二六年十一月五日,十八点三十分前",
    );
    check(&format!("于{}", date("2026/10/20")), "于二零二六年十月二十日");
    check(&format!("于{}", time("09:05")), "于九点零五分");
    check(&format!("于{}", time("10:00")), "于十点整");
    check(&format!("于{}", time("00:00:09")), "于零点零分零九秒");
}

#[test]
fn numerals_in_english_text() {
    for (text, expected) in [
        ("Room 12, gate 3", "Room 12, gate 3"),
        ("call 4008001234 now", "call four zero zero eight zero zero one two three four now"),
        ("call 555-1234!", "call five five five, one two three four !"),
        ("call +15", "call + one five"),
        ("scores 3-5", "scores 3-5"),
        ("code 0042", "code zero zero four two"),
        ("pay $12000 or 1,234,567 or 3.50", "pay $12000 or 1,234,567 or 3.50"),
        ("order A12345B", "order A one two three four five B"),
        ("on 2026/11/05 at 7:05", "on November fifth, twenty twenty six at seven oh five a.m."),
        ("on 2026/02/30", "on 2026/ zero two /30"),
        ("at 25:00", "at 25: zero zero"),
        ("host 10.0.0.1", "host 10.0.0.1"),
        ("１２３４５", "one two three four five"),
        ("a\u{0}b\nc", "a b c"),
        ("", ""),
    ] {
        check(text, expected);
    }
}

#[test]
fn numerals_in_chinese_text() {
    for (text, expected) in [
        ("第3号", "第三号"),
        ("共12件", "共十二件"),
        ("余额102元", "余额一百零二元"),
        ("余额12000元", "余额一万二千元"),
        ("余额1,020,300元", "余额一百零二万零三百元"),
        ("余额100000005元", "余额一亿零五元"),
        ("余额3.50元", "余额三点五零元"),
        ("增长5%。", "增长百分之五。"),
        ("订单12345", "订单一二三四五"),
        ("工号007", "工号零零七"),
        ("电话0571-8888", "电话零五七一，八八八八"),
        ("在2026年11月", "在二零二六年十一月"),
        ("于2026-11-05 7:05到", "于二零二六年十一月五日 七点零五分到"),
        ("共0人", "共零人"),
        ("共110人", "共一百一十人"),
        ("共1001人", "共一千零一人"),
        ("共１０人", "共十人"),
    ] {
        check(text, expected);
    }
}

#[test]
fn other_languages_keep_their_text() {
    let text: FilledText = format!("Код {}, {}", digits("04"), date("2026/11/05")).parse().unwrap();
    let words = spoken(&text, Language::Other);
    assert_eq!(words.trim_end(), "Код 0 4 , 2026-11-05");
}

proptest! {
    #[test]
    fn any_text_is_spoken_in_any_language(text in ".{0,60}", numerals in "[0-9.,:/%+ -]{0,40}") {
        for language in Language::ALL {
            for text in [&text, &numerals] {
                let words = spoken(&FilledText::plain(text.as_str()), language);
                prop_assert!(!words.contains(char::is_control));
                if language == Language::Chinese {
                    prop_assert!(!words.contains(|c: char| c.is_ascii_digit()), "{}", words);
                }
            }
        }
    }
}
