//! Orders with their customer and what was paid: three services, three topics, one table.
//!
//! In: `orders` by order id, `customers` by customer id, `payments` by order id; all JSON. Out:
//! `order-states` by order id, whenever any of the three changes. An order names its customer by
//! a foreign key; the payments of an order are summed up first.
//!
//! Run it with `cargo run -p moldau-examples --bin orders [BOOTSTRAP]`.

use anyhow::Result;
use moldau_streams::{Builder, Json, StreamsConfig, StreamsError, Topic, Topology};
use serde::{Deserialize, Serialize};

/// What somebody wants.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    customer: String,
    cents: i64,
}

/// Who somebody is.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Customer {
    name: String,
}

/// A part of an order's price that has come in.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Payment {
    cents: i64,
}

/// All that is known of an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct OrderState {
    customer: Option<String>,
    cents: i64,
    paid_cents: i64,
}

const ORDERS: Topic<String, Json<Order>> = Topic::new("orders");
const CUSTOMERS: Topic<String, Json<Customer>> = Topic::new("customers");
const PAYMENTS: Topic<String, Json<Payment>> = Topic::new("payments");
const ORDER_STATES: Topic<String, Option<Json<OrderState>>> = Topic::new("order-states");

fn topology() -> Result<Topology, StreamsError> {
    let builder = Builder::new("order-states");
    let customers = builder.table(&CUSTOMERS);
    let paid = builder.stream(&PAYMENTS).group_by_key().aggregate_as(
        "paid",
        || 0_i64,
        |_, payment, cents| *cents += payment.cents,
    );
    builder
        .table(&ORDERS)
        .join(customers.on(|_: &String, order: &Json<Order>| order.customer.clone()))
        .left()
        .by(|order, customer| {
            Json(OrderState {
                customer: customer.map(|customer| customer.name.clone()),
                cents: order.cents,
                paid_cents: 0,
            })
        })
        .join(&paid)
        .left()
        .by(|state, paid| {
            Json(OrderState {
                paid_cents: paid.copied().unwrap_or(0),
                ..state.0.clone()
            })
        })
        .to_stream()
        .to(&ORDER_STATES);
    builder.build()
}

fn main() -> Result<()> {
    let bootstrap = moldau_examples::start();
    Ok(topology()?.run(&bootstrap, StreamsConfig::default())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(customer: Option<&str>, paid_cents: i64) -> Option<Json<OrderState>> {
        Some(Json(OrderState {
            customer: customer.map(str::to_owned),
            cents: 500,
            paid_cents,
        }))
    }

    #[test]
    fn an_order_follows_its_customer_and_its_payments() -> Result<()> {
        let test = topology()?.test()?;
        let (orders, customers) = (test.input(&ORDERS), test.input(&CUSTOMERS));
        let (payments, states) = (test.input(&PAYMENTS), test.output(&ORDER_STATES));
        let order = Order {
            customer: "c1".to_owned(),
            cents: 500,
        };
        let name = "Ann".to_owned();
        orders.send_at(1, "o1", order);
        customers.send_at(2, "c1", Customer { name });
        payments.send_at(3, "o1", Payment { cents: 200 });
        test.crash_and_restore();
        payments.send_at(4, "o1", Payment { cents: 300 });
        let states: Vec<_> = states.read().into_iter().map(|(_, state)| state).collect();
        assert_eq!(
            states,
            [
                state(None, 0),
                state(Some("Ann"), 0),
                state(Some("Ann"), 200),
                state(Some("Ann"), 500),
            ]
        );
        Ok(())
    }
}
