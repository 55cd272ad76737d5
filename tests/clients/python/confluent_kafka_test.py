"""confluent-kafka (librdkafka from Python) against the endpoint in BOOTSTRAP."""

import os
import time
import unittest
import uuid

from confluent_kafka import (OFFSET_BEGINNING, Consumer, ConsumerGroupTopicPartitions, KafkaException, Producer,
                             TopicPartition)
from confluent_kafka.admin import (AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic,
                                   OffsetSpec, ResourceType)

BOOTSTRAP = os.environ["BOOTSTRAP"]
LIMIT_S = 60


def fresh(name):
    return f"{name}-{uuid.uuid4().hex[:10]}"


def settings(**more):
    named = {name.replace("_", "."): value for name, value in more.items()}
    return {"bootstrap.servers": BOOTSTRAP, "topic.metadata.refresh.interval.ms": 1000} | named


class ConfluentKafka(unittest.TestCase):
    def setUp(self):
        self.admin = AdminClient(settings())

    def done(self, futures):
        (result,) = [future.result(LIMIT_S) for future in futures.values()]
        return result

    def topic(self, partitions, name=None):
        name = name or fresh("confluent")
        self.done(self.admin.create_topics([NewTopic(name, num_partitions=partitions, replication_factor=1)]))
        return name

    def produce(self, topic, values, partitions=1, **options):
        failed = []
        producer = Producer(settings(**options))
        for number, value in enumerate(values):
            producer.produce(topic, value, key=str(number), partition=number % partitions,
                             headers={"number": str(number)},
                             on_delivery=lambda error, _: failed.append(error) if error else None)
        self.assertEqual(producer.flush(LIMIT_S), 0)
        self.assertEqual(failed, [])

    def consumer(self, **options):
        consumer = Consumer(settings(**{"auto_offset_reset": "earliest", "enable_auto_commit": False} | options))
        self.addCleanup(consumer.close)
        return consumer

    def values(self, topic, partitions, isolation):
        """Reads to the end of each partition, as far as `isolation` lets see."""
        consumer = self.consumer(group_id=fresh("reader"), isolation_level=isolation, enable_partition_eof=True)
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(partitions)])
        values, ended, deadline = [], set(), time.monotonic() + LIMIT_S
        while len(ended) < partitions:
            self.assertLess(time.monotonic(), deadline, f"{len(values)} records with {isolation}")
            message = consumer.poll(0.2)
            if message is None:
                continue
            if message.error():
                ended.add(message.partition())
            else:
                values.append(message.value().decode())
        return values

    def poll_until(self, members, condition):
        deadline, values = time.monotonic() + LIMIT_S, []
        while not condition():
            self.assertLess(time.monotonic(), deadline, [member.assignment() for member in members])
            for member in members:
                message = member.poll(0.1)
                if message is not None:
                    self.assertIsNone(message.error())
                    values.append(message.value().decode())
        return values

    def test_records_come_back_with_every_codec(self):
        topic = self.topic(1)
        codecs = ["none", "gzip", "snappy", "lz4", "zstd"]
        for codec in codecs:
            self.produce(topic, [f"{codec} {number}" for number in range(200)], compression_type=codec, enable_idempotence=True)
        want = [f"{codec} {number}" for codec in codecs for number in range(200)]
        self.assertEqual(self.values(topic, 1, "read_uncommitted"), want)

    def test_headers_keys_and_offsets_by_time(self):
        topic = self.topic(1)
        self.produce(topic, ["a", "b", "c"])
        consumer = self.consumer(group_id=fresh("reader"))
        consumer.assign([TopicPartition(topic, 0, 1)])
        (message,) = consumer.consume(1, LIMIT_S)
        self.assertEqual((message.offset(), message.key(), message.value(), message.headers()),
                         (1, b"1", b"b", [("number", b"1")]))
        (found,) = consumer.offsets_for_times([TopicPartition(topic, 0, message.timestamp()[1])], LIMIT_S)
        self.assertLessEqual(found.offset, 1)
        self.assertEqual(consumer.get_watermark_offsets(TopicPartition(topic, 0), LIMIT_S), (0, 3))

    def test_two_members_share_a_topic_eager(self):
        self.two_members_share_a_topic(partition_assignment_strategy="range", heartbeat_interval_ms=500)

    def test_two_members_share_a_topic_cooperative(self):
        self.two_members_share_a_topic(partition_assignment_strategy="cooperative-sticky", heartbeat_interval_ms=500)

    def test_two_members_share_a_topic_protocol_consumer(self):
        self.two_members_share_a_topic(group_protocol="consumer")

    def two_members_share_a_topic(self, **options):
        topic, group = self.topic(4), fresh("group")
        self.produce(topic, [str(number) for number in range(100)], partitions=4)
        members = [self.consumer(group_id=group, **options) for _ in range(2)]
        for member in members:
            member.subscribe([topic])
        values = self.poll_until(members, lambda: [len(member.assignment()) for member in members] == [2, 2])
        owned = {partition.partition for member in members for partition in member.assignment()}
        self.assertEqual(owned, {0, 1, 2, 3})
        members.pop().close()
        values += self.poll_until(members, lambda: len(members[0].assignment()) == 4)
        values += self.poll_until(members, lambda: sum(p.offset for p in members[0].position(members[0].assignment())) == 100)
        self.assertEqual({int(value) for value in values}, set(range(100)))
        members[0].commit(asynchronous=False)
        committed = members[0].committed([TopicPartition(topic, partition) for partition in range(4)], LIMIT_S)
        self.assertEqual(sum(partition.offset for partition in committed), 100)

    def test_the_broker_resolves_a_pattern_protocol_consumer(self):
        prefix = fresh("confluent")
        for suffix in ("a", "b", "other"):
            self.topic(1, f"{prefix}-{suffix}")
        member = self.consumer(group_id=fresh("group"), group_protocol="consumer")
        member.subscribe([f"^{prefix}-[a-b]$"])
        self.poll_until([member], lambda: len(member.assignment()) == 2)
        self.assertEqual({partition.topic for partition in member.assignment()}, {f"{prefix}-a", f"{prefix}-b"})

    def test_read_committed_sees_only_what_was_committed(self):
        topic = self.topic(2)
        producer = Producer(settings(transactional_id=fresh("txn")))
        producer.init_transactions(LIMIT_S)
        for outcome in ("commit 1", "abort 1", "commit 2"):
            producer.begin_transaction()
            for number in range(20):
                producer.produce(topic, outcome, partition=number % 2)
            producer.flush(LIMIT_S)
            if outcome.startswith("commit"):
                producer.commit_transaction(LIMIT_S)
            else:
                producer.abort_transaction(LIMIT_S)
        self.assertEqual(sorted(self.values(topic, 2, "read_committed")), ["commit 1"] * 20 + ["commit 2"] * 20)
        self.assertEqual(len(self.values(topic, 2, "read_uncommitted")), 60)

    def test_offsets_are_committed_with_the_transaction(self):
        topic, group = self.topic(1), fresh("group")
        partition = TopicPartition(topic, 0)
        consumer = self.consumer(group_id=group)
        consumer.subscribe([topic])
        self.poll_until([consumer], lambda: len(consumer.assignment()) == 1)
        producer = Producer(settings(transactional_id=fresh("txn")))
        producer.init_transactions(LIMIT_S)
        for commit, offset, want in ((True, 5, 5), (False, 9, 5), (True, 12, 12)):
            producer.begin_transaction()
            producer.produce(topic, "value")
            producer.send_offsets_to_transaction([TopicPartition(topic, 0, offset)], consumer.consumer_group_metadata(), LIMIT_S)
            if commit:
                producer.commit_transaction(LIMIT_S)
            else:
                producer.abort_transaction(LIMIT_S)
            self.assertEqual(consumer.committed([partition], LIMIT_S)[0].offset, want)

    def test_a_newer_producer_fences_the_older_one(self):
        topic, transactional_id = self.topic(1), fresh("txn")
        older, newer = (Producer(settings(transactional_id=transactional_id)) for _ in range(2))
        older.init_transactions(LIMIT_S)
        older.begin_transaction()
        older.produce(topic, "of the older")
        older.flush(LIMIT_S)
        newer.init_transactions(LIMIT_S)
        with self.assertRaises(KafkaException) as caught:
            older.commit_transaction(LIMIT_S)
        self.assertTrue(caught.exception.args[0].fatal())
        newer.begin_transaction()
        newer.produce(topic, "of the newer")
        newer.commit_transaction(LIMIT_S)
        self.assertEqual(self.values(topic, 1, "read_committed"), ["of the newer"])

    def test_admin_topics_and_settings(self):
        topic = self.topic(2)
        self.done(self.admin.create_partitions([NewPartitions(topic, 3)]))
        deadline = time.monotonic() + LIMIT_S
        while len(self.admin.list_topics(topic, LIMIT_S).topics[topic].partitions) != 3:
            self.assertLess(time.monotonic(), deadline)
        change = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[
            ConfigEntry("retention.ms", "7200000", incremental_operation=AlterConfigOpType.SET)])
        self.done(self.admin.incremental_alter_configs([change]))
        config = self.done(self.admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]))
        self.assertEqual((config["retention.ms"].value, config["retention.ms"].is_default), ("7200000", False))
        self.assertEqual(len(self.admin.describe_cluster().result(LIMIT_S).nodes), 1)
        self.done(self.admin.delete_topics([topic]))
        deadline = time.monotonic() + LIMIT_S
        while topic in self.admin.list_topics(timeout=LIMIT_S).topics:
            self.assertLess(time.monotonic(), deadline)

    def test_admin_records(self):
        topic = self.topic(1)
        self.produce(topic, ["value"] * 10)
        self.done(self.admin.delete_records([TopicPartition(topic, 0, 4)]))
        for spec, want in ((OffsetSpec.earliest(), 4), (OffsetSpec.latest(), 10)):
            self.assertEqual(self.done(self.admin.list_offsets({TopicPartition(topic, 0): spec})).offset, want)

    def test_admin_groups(self):
        topic, group = self.topic(1), fresh("group")
        member = self.consumer(group_id=group)
        member.subscribe([topic])
        self.poll_until([member], lambda: len(member.assignment()) == 1)
        self.assertIn(group, [listed.group_id for listed in self.admin.list_consumer_groups().result(LIMIT_S).valid])
        described = self.done(self.admin.describe_consumer_groups([group]))
        self.assertEqual((described.state.name, len(described.members)), ("STABLE", 1))
        member.close()
        offsets = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0, 7, "by hand")])
        self.done(self.admin.alter_consumer_group_offsets([offsets]))
        (listed,) = self.done(self.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])).topic_partitions
        self.assertEqual((listed.offset, listed.metadata), (7, "by hand"))
        self.done(self.admin.delete_consumer_groups([group]))
        self.assertNotIn(group, [listed.group_id for listed in self.admin.list_consumer_groups().result(LIMIT_S).valid])


if __name__ == "__main__":
    unittest.main(verbosity=2)
