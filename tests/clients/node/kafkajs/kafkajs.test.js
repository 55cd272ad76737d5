// KafkaJS against the endpoint in BOOTSTRAP.
"use strict";
const assert = require("node:assert");
const { randomUUID } = require("node:crypto");
const { test, after } = require("node:test");
const { setTimeout: pause } = require("node:timers/promises");
const { CompressionTypes, ConfigResourceTypes, Kafka, logLevel } = require("kafkajs");

const LIMIT_MS = 60_000;
const kafka = new Kafka({ clientId: "moldau-test", brokers: [process.env.BOOTSTRAP], logLevel: logLevel.NOTHING });
const admin = kafka.admin();
const connected = admin.connect();
after(() => admin.disconnect());

const fresh = (name) => `${name}-${randomUUID().slice(0, 8)}`;

async function createTopic(numPartitions) {
  await connected;
  const topic = fresh("kafkajs");
  await admin.createTopics({ topics: [{ topic, numPartitions, replicationFactor: 1 }], waitForLeaders: true });
  return topic;
}

async function send(topic, partitions, values, options = {}) {
  const producer = kafka.producer({ idempotent: true });
  await producer.connect();
  const messages = values.map((value, i) => ({ key: `key ${i}`, value, partition: i % partitions, headers: { number: `${i}` } }));
  await producer.send({ topic, messages, acks: -1, ...options });
  await producer.disconnect();
}

async function until(what, condition) {
  const deadline = Date.now() + LIMIT_MS;
  while (!(await condition())) {
    assert.ok(Date.now() < deadline, `not within ${LIMIT_MS} ms: ${what}`);
    await pause(50);
  }
}

/** A member of `groupId` that puts what it reads into `records`, and its partitions into `assigned`. */
async function member(groupId, topic, records, options = {}) {
  const consumer = kafka.consumer({ groupId, heartbeatInterval: 500, maxWaitTimeInMs: 200, ...options });
  const state = { consumer, assigned: [] };
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => { state.assigned = payload.memberAssignment[topic] ?? []; });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await consumer.run({
    eachMessage: async ({ partition, message }) => records.push({ partition, ...message, value: message.value.toString() }),
  });
  return state;
}

async function readAll(topic, readUncommitted, count) {
  const records = [];
  const { consumer } = await member(fresh("reader"), topic, records, { readUncommitted });
  await until(`${count} records were read`, () => records.length >= count);
  await pause(300);
  await consumer.disconnect();
  assert.equal(records.length, count);
  return records;
}

test("records come back with key, headers and compression", async () => {
  const topic = await createTopic(1);
  const values = Array.from({ length: 200 }, (_, i) => `value ${i}`);
  await send(topic, 1, values);
  await send(topic, 1, values, { compression: CompressionTypes.GZIP });
  const records = await readAll(topic, false, 400);
  assert.deepEqual(records.map(({ offset }) => Number(offset)), Array.from({ length: 400 }, (_, i) => i));
  assert.deepEqual(records.map(({ value }) => value), [...values, ...values]);
  assert.equal(records[7].key.toString(), "key 7");
  assert.equal(records[7].headers.number.toString(), "7");
});

test("two members share a topic", async () => {
  const [topic, groupId, records] = [await createTopic(4), fresh("group"), []];
  await send(topic, 4, Array.from({ length: 100 }, (_, i) => `${i}`));
  const first = await member(groupId, topic, records);
  const second = await member(groupId, topic, records);
  await until("both members have two", () => first.assigned.length === 2 && second.assigned.length === 2);
  assert.deepEqual([...first.assigned, ...second.assigned].sort(), [0, 1, 2, 3]);
  await until("all was read", () => new Set(records.map(({ value }) => value)).size === 100);
  await second.consumer.disconnect();
  await until("the first member has all", () => first.assigned.length === 4);
  const described = await admin.describeGroups([groupId]);
  assert.equal(described.groups[0].state, "Stable");
  await first.consumer.disconnect();
  const [{ partitions }] = await admin.fetchOffsets({ groupId, topics: [topic] });
  assert.equal(partitions.reduce((sum, { offset }) => sum + Number(offset), 0), 100);
});

test("read_committed sees only what was committed", async () => {
  const [topic, groupId] = [await createTopic(1), fresh("group")];
  const producer = kafka.producer({ transactionalId: fresh("txn"), maxInFlightRequests: 1, idempotent: true });
  await producer.connect();
  for (const [outcome, offset, committed] of [["commit", 11, 11], ["abort", 22, 11], ["commit", 33, 33]]) {
    const transaction = await producer.transaction();
    await transaction.send({ topic, messages: Array.from({ length: 10 }, () => ({ value: outcome })) });
    await transaction.sendOffsets({ consumerGroupId: groupId, topics: [{ topic, partitions: [{ partition: 0, offset: `${offset}` }] }] });
    await (outcome === "commit" ? transaction.commit() : transaction.abort());
    // EndTxn is answered before the markers are written: the offset follows.
    await until("the offset is committed", async () => {
      const [{ partitions }] = await admin.fetchOffsets({ groupId, topics: [topic] });
      return Number(partitions[0].offset) === committed;
    });
  }
  await producer.disconnect();
  const values = (records) => records.map(({ value }) => value);
  assert.deepEqual(values(await readAll(topic, false, 20)), Array(20).fill("commit"));
  assert.equal(values(await readAll(topic, true, 30)).filter((value) => value === "abort").length, 10);
});

test("admin: topics, settings and records", async () => {
  const topic = await createTopic(2);
  assert.ok((await admin.listTopics()).includes(topic));
  await admin.createPartitions({ topicPartitions: [{ topic, count: 3 }] });
  await until("the topic has grown", async () => (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions.length === 3);
  const resource = { type: ConfigResourceTypes.TOPIC, name: topic };
  await admin.alterConfigs({ resources: [{ ...resource, configEntries: [{ name: "retention.ms", value: "7200000" }] }] });
  await until("the setting has changed", async () => {
    const described = await admin.describeConfigs({ resources: [{ ...resource, configNames: ["retention.ms"] }] });
    return described.resources[0].configEntries[0].configValue === "7200000";
  });
  await send(topic, 1, Array.from({ length: 10 }, (_, i) => `${i}`));
  await admin.fetchTopicOffsets(topic); // deleteTopicRecords looks only at leaders that the client knows already
  await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: "4" }] });
  const offsets = await admin.fetchTopicOffsets(topic);
  assert.deepEqual(offsets.filter(({ partition }) => partition === 0), [{ partition: 0, offset: "10", high: "10", low: "4" }]);
  assert.equal((await admin.describeCluster()).brokers.length, 1);
  await admin.deleteTopics({ topics: [topic] });
  await until("the topic is gone", async () => !(await admin.listTopics()).includes(topic));
});

test("admin: groups", async () => {
  const [topic, groupId] = [await createTopic(1), fresh("group")];
  await admin.setOffsets({ groupId, topic, partitions: [{ partition: 0, offset: "7" }] });
  const [{ partitions }] = await admin.fetchOffsets({ groupId, topics: [topic] });
  assert.equal(partitions[0].offset, "7");
  assert.ok((await admin.listGroups()).groups.some((group) => group.groupId === groupId));
  await admin.deleteGroups([groupId]);
  assert.ok(!(await admin.listGroups()).groups.some((group) => group.groupId === groupId));
});
