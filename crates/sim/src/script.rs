//! What the phone of each [`Behaviour`] does, step by step.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::behaviour::{Behaviour, OddSdp};
use crate::phone::{Over, Phone};
use crate::wire::Lost;
use crate::{fork, sdp_edit};

/// A person of the caller's own making, see [`crate::Carrier::answer_with`].
pub(crate) type Person = Arc<dyn for<'p> Fn(&'p mut Phone) -> Acting<'p> + Send + Sync>;
/// What a person does in one call, from INVITE to end.
pub type Acting<'p> = Pin<Box<dyn Future<Output = Result<(), Over>> + Send + 'p>>;

/// Who answers a number.
#[derive(Clone)]
pub(crate) enum Part {
    Behaviour(Behaviour),
    Person(Person),
}

const SHORT_RING: Duration = Duration::from_millis(200);
const ONE_SECOND: Duration = Duration::from_secs(1);
/// A tone without an end is played in such pieces.
const TONE_PIECE: Duration = Duration::from_secs(60);
/// How long a voicemail records.
const VOICEMAIL_LISTENS: Duration = Duration::from_secs(10);

/// Plays the part, then ends the call where it is still up, and reports.
pub(crate) async fn perform(part: Part, mut phone: Phone) {
    let acted = match &part {
        Part::Behaviour(behaviour) => act(behaviour, &mut phone).await,
        Part::Person(person) => person(&mut phone).await,
    };
    if let Err(Over) = acted {
        tracing::trace!("a simulated call ended before its phone was done");
    }
    phone.finish().await;
}

async fn act(behaviour: &Behaviour, phone: &mut Phone) -> Result<(), Over> {
    match behaviour {
        Behaviour::Answer { ring } => {
            phone.ring_for(*ring).await?;
            phone.answer().await?;
            phone.until_over().await
        }
        Behaviour::Tone { ring, hz, talk } => tone(phone, *ring, *hz, *talk).await,
        Behaviour::HangUp { talk } => {
            phone.answer().await?;
            phone.wait(*talk).await?;
            phone.hang_up().await
        }
        Behaviour::Press { wait, digits } => {
            phone.answer().await?;
            phone.wait(*wait).await?;
            phone.press(digits).await?;
            phone.until_over().await
        }
        Behaviour::Refuse { ring, status } => {
            phone.ring_for(*ring).await?;
            phone.refuse(*status).await
        }
        Behaviour::Overloaded { retry_after } => {
            let rest = retry_after.as_secs().to_string();
            phone.refuse_saying(503, vec![("Retry-After".to_owned(), rest)]).await
        }
        Behaviour::Redirect { to } => {
            let contact = format!("<sip:{to}@carrier.invalid>");
            phone.refuse_saying(302, vec![("Contact".to_owned(), contact)]).await
        }
        Behaviour::NoAnswer => {
            phone.ring()?;
            phone.until_over().await
        }
        // The 100 has left already. What should not have reached a phone at all gets no more than that either.
        Behaviour::Stuck | Behaviour::Dead => phone.until_over().await,
        Behaviour::Voicemail => voicemail(phone).await,
        Behaviour::EarlyMedia { ring } => early_media(phone, *ring).await,
        Behaviour::OneWay => one_way(phone).await,
        Behaviour::Deaf => deaf(phone).await,
        Behaviour::CancelRace => cancel_race(phone).await,
        Behaviour::Forked => forked(phone).await,
        Behaviour::Reinvite { after } => {
            phone.answer().await?;
            phone.wait(*after).await?;
            phone.resume().await?;
            phone.until_over().await
        }
        Behaviour::Hold => hold(phone).await,
        Behaviour::OddSdp(odd) => odd_sdp(phone, *odd).await,
        Behaviour::LoseAudio { after } => lose_audio(phone, *after).await,
        Behaviour::AnswerLost => {
            phone.lose(Lost::Answer, 1);
            phone.answer().await?;
            phone.until_over().await
        }
        Behaviour::ByeLost { talk } => bye_lost(phone, *talk).await,
        Behaviour::RefuseOffers => {
            phone.refuse_offers(488);
            phone.answer().await?;
            phone.until_over().await
        }
        Behaviour::Vanish { after } => {
            phone.answer().await?;
            phone.wait(*after).await?;
            if phone.vanish() { Ok(()) } else { phone.until_over().await }
        }
    }
}

async fn tone(
    phone: &mut Phone,
    ring: Duration,
    hz: u16,
    talk: Option<Duration>,
) -> Result<(), Over> {
    phone.ring_for(ring).await?;
    phone.answer().await?;
    if let Some(talk) = talk {
        phone.tone_for(hz, talk).await?;
        return phone.hang_up().await;
    }
    loop {
        phone.tone_for(hz, TONE_PIECE).await?;
    }
}

async fn lose_audio(phone: &mut Phone, after: Duration) -> Result<(), Over> {
    phone.answer().await?;
    phone.wait(after).await?;
    phone.lose_audio().await;
    phone.until_over().await
}

async fn bye_lost(phone: &mut Phone, talk: Duration) -> Result<(), Over> {
    phone.answer().await?;
    phone.wait(talk).await?;
    phone.lose(Lost::Bye, 1);
    phone.hang_up().await
}

async fn voicemail(phone: &mut Phone) -> Result<(), Over> {
    let sounds = phone.exchange().sounds().clone();
    phone.ring_for(ONE_SECOND).await?;
    phone.answer().await?;
    phone.play(&sounds.greeting).await?;
    phone.play(&sounds.beep).await?;
    phone.wait(VOICEMAIL_LISTENS).await?;
    phone.hang_up().await
}

async fn early_media(phone: &mut Phone, ring: Duration) -> Result<(), Over> {
    let ringback = phone.exchange().sounds().ringback.clone();
    phone.early_media().await?;
    phone.play_for(&ringback, ring).await?;
    phone.answer().await?;
    phone.until_over().await
}

/// The phone's own media stack is told that the caller wants to send only, so it sends nothing; the caller is told
/// that audio goes both ways.
async fn one_way(phone: &mut Phone) -> Result<(), Over> {
    let offer = phone.offer().map(|offer| sdp_edit::with_direction(&offer, "sendonly"));
    let sdp = phone.description_for(offer).await?;
    phone.answer_with(Some(sdp_edit::with_direction(&sdp, "sendrecv")))?;
    phone.until_over().await
}

async fn deaf(phone: &mut Phone) -> Result<(), Over> {
    let port = phone.exchange().nobodys_port();
    let sdp = phone.description().await?;
    phone.answer_with(Some(sdp_edit::with_audio_port(&sdp, port)))?;
    phone.until_over().await
}

async fn cancel_race(phone: &mut Phone) -> Result<(), Over> {
    let races = phone.answer_on_cancel().await?;
    phone.ring()?;
    if races {
        phone.until_confirmed().await?;
    }
    phone.until_over().await
}

async fn forked(phone: &mut Phone) -> Result<(), Over> {
    phone.ring_for(SHORT_RING).await?;
    let second = fork::second_phone(phone).await;
    phone.answer().await?;
    if let Some(second) = second {
        phone.note_fork(second);
    }
    phone.until_over().await
}

async fn hold(phone: &mut Phone) -> Result<(), Over> {
    phone.answer().await?;
    phone.wait(ONE_SECOND).await?;
    phone.hold().await?;
    phone.wait(2 * ONE_SECOND).await?;
    phone.resume().await?;
    phone.until_over().await
}

async fn odd_sdp(phone: &mut Phone, odd: OddSdp) -> Result<(), Over> {
    let sdp = phone.description().await?;
    let answer = match odd {
        OddSdp::Sparse => Some(sdp_edit::sparse(&sdp)),
        OddSdp::NoCommonCodec => Some(sdp_edit::with_foreign_codec(&sdp)),
        OddSdp::Missing => None,
        OddSdp::OnlyEarly => {
            phone.early_media().await?;
            None
        }
    };
    phone.answer_with(answer)?;
    phone.until_over().await
}
