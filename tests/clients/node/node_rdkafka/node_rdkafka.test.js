// node-rdkafka (librdkafka from Node) against the endpoint in BOOTSTRAP.
"use strict";
const assert = require("node:assert");
const { randomUUID } = require("node:crypto");
const { test, after } = require("node:test");
const { promisify } = require("node:util");
const Kafka = require("node-rdkafka");

const LIMIT_MS = 60_000;
const common = { "bootstrap.servers": process.env.BOOTSTRAP, "topic.metadata.refresh.interval.ms": 1000 };
const admin = Kafka.AdminClient.create(common);
after(() => admin.disconnect());

const fresh = (name) => `${name}-${randomUUID().slice(0, 8)}`;
/** Calls a method that ends in a callback. */
const call = (object, method, ...given) => promisify(object[method]).apply(object, given);

async function createTopic(partitions) {
  const topic = fresh("node-rdkafka");
  await call(admin, "createTopic", { topic, num_partitions: partitions, replication_factor: 1 }, LIMIT_MS);
  return topic;
}

async function connected(client) {
  await call(client, "connect", {});
  return client;
}

async function send(topic, partitions, values, options = {}) {
  const producer = await connected(new Kafka.Producer({ ...common, dr_cb: true, "enable.idempotence": true, ...options }));
  const reports = [];
  producer.on("delivery-report", (error, report) => reports.push(error ?? report.offset));
  values.forEach((value, i) => producer.produce(topic, i % partitions, Buffer.from(value), `key ${i}`, null, null, [{ number: `${i}` }]));
  await until("all is delivered", () => { producer.poll(); return reports.length === values.length; });
  assert.ok(reports.every((report) => Number.isInteger(report)), `${reports}`);
  await call(producer, "disconnect");
}

async function until(what, condition) {
  const deadline = Date.now() + LIMIT_MS;
  while (!(await condition())) {
    assert.ok(Date.now() < deadline, `not within ${LIMIT_MS} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function consumer(options) {
  const settings = { ...common, "enable.auto.commit": false, "rebalance_cb": true, ...options };
  const member = new Kafka.KafkaConsumer(settings, { "auto.offset.reset": "earliest" });
  member.setDefaultConsumeTimeout(100);
  return connected(member);
}

/** Polls each of `members` until `condition`, and gives what they read. */
async function pollUntil(what, members, condition) {
  const messages = [];
  await until(what, async () => {
    for (const member of members) messages.push(...(await call(member, "consume", 100)));
    return condition(messages);
  });
  return messages;
}

async function readAll(topic, isolation, count) {
  const reader = await consumer({ "group.id": fresh("reader"), "isolation.level": isolation, "enable.partition.eof": true });
  let ended = false;
  reader.on("partition.eof", () => { ended = true; });
  reader.assign([{ topic, partition: 0, offset: 0 }]);
  const messages = await pollUntil(`the end is reached with ${isolation}`, [reader], () => ended);
  await call(reader, "disconnect");
  assert.equal(messages.length, count);
  return messages.map(({ value }) => value.toString());
}

test("records come back with every codec", async () => {
  const topic = await createTopic(1);
  const values = Array.from({ length: 200 }, (_, i) => `value ${i}`);
  const codecs = ["none", "gzip", "snappy", "lz4", "zstd"].filter((codec) => codec === "none" || Kafka.features.includes(codec));
  for (const codec of codecs) await send(topic, 1, values, { "compression.codec": codec });
  assert.deepEqual(await readAll(topic, "read_committed", 200 * codecs.length), codecs.flatMap(() => values));
});

for (const [protocol, options] of [["classic", { "heartbeat.interval.ms": 500 }], ["consumer", { "group.protocol": "consumer" }]]) {
  test(`two members share a topic, protocol ${protocol}`, async () => {
    const topic = await createTopic(4);
    const values = Array.from({ length: 100 }, (_, i) => `${i}`);
    await send(topic, 4, values);
    const settings = { "group.id": fresh("group"), ...options };
    const members = [await consumer(settings), await consumer(settings)];
    for (const member of members) member.subscribe([topic]);
    const sizes = () => members.map((member) => member.assignments().length);
    const messages = await pollUntil("both have two", members, () => `${sizes()}` === "2,2");
    const owned = members.flatMap((member) => member.assignments().map(({ partition }) => partition));
    assert.deepEqual(owned.sort(), [0, 1, 2, 3]);
    await call(members.pop(), "disconnect");
    messages.push(...(await pollUntil("one has all", members, () => `${sizes()}` === "4")));
    const [member] = members;
    const position = () => member.position(member.assignments()).reduce((sum, { offset }) => sum + (offset ?? 0), 0);
    messages.push(...(await pollUntil("all is read", members, () => position() === 100)));
    assert.deepEqual(new Set(messages.map(({ value }) => value.toString())), new Set(values));
    member.commitSync();
    const committed = await call(member, "committed", member.assignments(), LIMIT_MS);
    assert.equal(committed.reduce((sum, { offset }) => sum + offset, 0), 100);
    await call(member, "disconnect");
  });
}

test("read_committed sees only what was committed, and offsets go with the transaction", async () => {
  const topic = await createTopic(1);
  const member = await consumer({ "group.id": fresh("group") });
  member.subscribe([topic]);
  await pollUntil("the member has its partition", [member], () => member.assignments().length === 1);
  const producer = await connected(new Kafka.Producer({ ...common, "transactional.id": fresh("txn") }));
  await call(producer, "initTransactions", LIMIT_MS);
  for (const [outcome, offset, committed] of [["commit", 11, 11], ["abort", 22, 11], ["commit", 33, 33]]) {
    await call(producer, "beginTransaction");
    for (let i = 0; i < 10; i++) producer.produce(topic, 0, Buffer.from(outcome));
    await call(producer, "sendOffsetsToTransaction", [{ topic, partition: 0, offset }], member, LIMIT_MS);
    await call(producer, "flush", LIMIT_MS);
    await call(producer, `${outcome}Transaction`, LIMIT_MS);
    const [found] = await call(member, "committed", [{ topic, partition: 0 }], LIMIT_MS);
    assert.equal(found.offset, committed);
  }
  await call(producer, "disconnect");
  await call(member, "disconnect");
  assert.deepEqual(await readAll(topic, "read_committed", 20), Array(20).fill("commit"));
  assert.equal((await readAll(topic, "read_uncommitted", 30)).filter((value) => value === "abort").length, 10);
});

test("admin: topics are created, grown and deleted", async () => {
  const topic = await createTopic(2);
  const client = await connected(new Kafka.Producer(common));
  const partitions = async () => {
    const { topics } = await call(client, "getMetadata", { timeout: LIMIT_MS });
    return topics.find(({ name }) => name === topic)?.partitions.length;
  };
  await until("the topic is there", async () => (await partitions()) === 2);
  await call(admin, "createPartitions", topic, 3, LIMIT_MS);
  await until("the topic has grown", async () => (await partitions()) === 3);
  await send(topic, 1, ["a", "b"]);
  const { lowOffset, highOffset } = await call(client, "queryWatermarkOffsets", topic, 0, LIMIT_MS);
  assert.deepEqual([lowOffset, highOffset], [0, 2]);
  await call(admin, "deleteTopic", topic, LIMIT_MS);
  await until("the topic is gone", async () => (await partitions()) === undefined);
  await call(client, "disconnect");
});
