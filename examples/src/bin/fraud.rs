//! Tells of cards that are used in two countries within ten minutes.
//!
//! In: `card-payments`, JSON such as `{"country": "CZ", "cents": 1900}`, keyed by card. Out:
//! `card-alerts`, keyed by card. The rule is a processor with a store of each card's last payment;
//! a punctuation forgets cards that were not used for an hour.
//!
//! Run it with `cargo run -p moldau-examples --bin fraud [BOOTSTRAP]`.

use std::time::Duration;

use anyhow::Result;
use moldau_streams::{
    Builder, Json, Processor, ProcessorContext, ProcessorError, ProcessorRecord, ProcessorStore,
    ProcessorStoreSpec, Punctuation, PunctuationType, StreamsConfig, StreamsError, Topic, Topology,
};
use serde::{Deserialize, Serialize};

/// A payment by card.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Payment {
    country: String,
    cents: i64,
}

/// Where and when a card was used last.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct LastUse {
    country: String,
    at: i64,
}

const PAYMENTS: Topic<String, Json<Payment>> = Topic::new("card-payments");
const ALERTS: Topic<String, String> = Topic::new("card-alerts");
const LAST_USES: &str = "last-uses";
const TOO_SOON_MS: i64 = 10 * 60 * 1000;
const FORGOTTEN_MS: i64 = 60 * 60 * 1000;

/// The rule, with its memory.
struct TwoCountries {
    last_uses: ProcessorStore<String, Json<LastUse>>,
}

impl Processor<String, Json<Payment>> for TwoCountries {
    type Key = String;
    type Value = String;

    fn process(
        &mut self,
        cx: &mut ProcessorContext<'_, String, String>,
        payment: ProcessorRecord<'_, String, Json<Payment>>,
    ) -> Result<(), ProcessorError> {
        let (card, country) = (payment.key, payment.value.country.clone());
        if let Some(last) = self.last_uses.get(cx, card)? {
            let soon = payment.timestamp - last.at < TOO_SOON_MS;
            if soon && last.country != country {
                let from = &last.country;
                cx.forward(card, &format!("used in {from}, then in {country}"))?;
            }
        }
        let last = LastUse {
            country,
            at: payment.timestamp,
        };
        Ok(self.last_uses.put(cx, card, &Json(last))?)
    }

    fn punctuate(
        &mut self,
        cx: &mut ProcessorContext<'_, String, String>,
        now: Punctuation,
    ) -> Result<(), ProcessorError> {
        let is_recent = |_: &String, last: &Json<LastUse>| now.timestamp - last.at < FORGOTTEN_MS;
        Ok(self.last_uses.retain(cx, is_recent)?)
    }
}

fn topology() -> Result<Topology, StreamsError> {
    let builder = Builder::new("card-fraud");
    let store = ProcessorStoreSpec::key_value::<String, Json<LastUse>>(LAST_USES);
    builder
        .stream(&PAYMENTS)
        .process([store], |cx| {
            cx.every(Duration::from_secs(60), PunctuationType::StreamTime);
            Ok(TwoCountries {
                last_uses: cx.store(LAST_USES)?,
            })
        })
        .to(&ALERTS);
    builder.build()
}

fn main() -> Result<()> {
    let bootstrap = moldau_examples::start();
    Ok(topology()?.run(&bootstrap, StreamsConfig::default())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payment(country: &str) -> Payment {
        Payment {
            country: country.to_owned(),
            cents: 1_900,
        }
    }

    #[test]
    fn two_countries_within_ten_minutes_are_told_also_after_a_crash() -> Result<()> {
        let test = topology()?.test()?;
        let (payments, alerts) = (test.input(&PAYMENTS), test.output(&ALERTS));
        payments.send_at(0, "card", payment("CZ"));
        payments.send_at(60_000, "card", payment("CZ"));
        test.crash_and_restore();
        payments.send_at(120_000, "card", payment("DE"));
        payments.send_at(120_000 + TOO_SOON_MS, "card", payment("CZ"));
        let alerts: Vec<_> = alerts.read().into_iter().map(|(_, alert)| alert).collect();
        assert_eq!(alerts, ["used in CZ, then in DE"]);
        Ok(())
    }

    #[test]
    fn cards_that_were_not_used_for_an_hour_are_forgotten() -> Result<()> {
        let test = topology()?.test()?;
        let payments = test.input(&PAYMENTS);
        payments.send_at(0, "old", payment("CZ"));
        payments.send_at(FORGOTTEN_MS, "new", payment("CZ"));
        let store = test.store::<String, Json<LastUse>>(LAST_USES);
        assert!(store.get("old").is_none());
        assert!(store.get("new").is_some());
        Ok(())
    }
}
