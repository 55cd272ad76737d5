"""kafka-python against the endpoint in BOOTSTRAP."""

import os
import threading
import time
import unittest
import uuid

from kafka import KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.admin import AlterConfigOp, ConfigResource, KafkaAdminClient, NewTopic, OffsetSpec

BOOTSTRAP = os.environ["BOOTSTRAP"]
LIMIT_S = 60


def fresh(name):
    return f"{name}-{uuid.uuid4().hex[:10]}"


class KafkaPython(unittest.TestCase):
    def setUp(self):
        self.admin = KafkaAdminClient(bootstrap_servers=BOOTSTRAP)
        self.addCleanup(self.admin.close)

    def topic(self, partitions):
        name = fresh("python")
        self.admin.create_topics([NewTopic(name, num_partitions=partitions, replication_factor=1)])
        self.admin.wait_for_topics([name])
        return name

    def produce(self, topic, count, **options):
        producer = KafkaProducer(bootstrap_servers=BOOTSTRAP, acks="all", **options)
        futures = [producer.send(topic, key=str(i).encode(), value=b"value %d" % i) for i in range(count)]
        producer.flush(LIMIT_S)
        placed = [future.get(LIMIT_S) for future in futures]
        producer.close()
        return placed

    def test_records_come_back_in_order_with_their_keys(self):
        topic = self.topic(1)
        placed = self.produce(topic, 500)
        self.assertEqual([record.offset for record in placed], list(range(500)))
        consumer = KafkaConsumer(bootstrap_servers=BOOTSTRAP, consumer_timeout_ms=LIMIT_S * 1000)
        self.addCleanup(consumer.close)
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        consumer.seek_to_beginning(partition)
        got = [next(consumer) for _ in range(500)]
        self.assertEqual([(record.key, record.value) for record in got],
                         [(str(i).encode(), b"value %d" % i) for i in range(500)])
        self.assertEqual(consumer.end_offsets([partition]), {partition: 500})

    def test_every_codec_that_python_brings_along(self):
        topic = self.topic(1)
        self.produce(topic, 100, compression_type="gzip")
        consumer = KafkaConsumer(topic, bootstrap_servers=BOOTSTRAP, auto_offset_reset="earliest",
                                 consumer_timeout_ms=LIMIT_S * 1000)
        self.addCleanup(consumer.close)
        self.assertEqual([next(consumer).value for _ in range(100)], [b"value %d" % i for i in range(100)])

    def test_offsets_are_found_by_time(self):
        topic = self.topic(1)
        self.produce(topic, 10)
        consumer = KafkaConsumer(bootstrap_servers=BOOTSTRAP)
        self.addCleanup(consumer.close)
        partition = TopicPartition(topic, 0)
        found = consumer.offsets_for_times({partition: 0})
        self.assertEqual(found[partition].offset, 0)

    def test_two_members_share_the_partitions_and_commit(self):
        topic, group = self.topic(4), fresh("group")
        self.produce(topic, 400)
        seen, lock, stop = {}, threading.Lock(), threading.Event()

        def member(name):
            consumer = self.member(topic, group)
            while not stop.is_set():
                for partition, records in consumer.poll(timeout_ms=1000).items():
                    with lock:
                        for record in records:
                            seen.setdefault((partition.partition, record.offset), set()).add(name)
                    consumer.commit()
            consumer.close()

        threads = [threading.Thread(target=member, args=(name,)) for name in "ab"]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + LIMIT_S
        while len(seen) < 400 and time.monotonic() < deadline:
            time.sleep(0.1)
        stop.set()
        for thread in threads:
            thread.join(LIMIT_S)
        self.assertEqual(len(seen), 400)
        reader = KafkaConsumer(bootstrap_servers=BOOTSTRAP, group_id=group)
        self.addCleanup(reader.close)
        self.assertEqual(sum(reader.committed(TopicPartition(topic, partition)) for partition in range(4)), 400)

    def test_a_member_that_leaves_gives_its_partitions_to_the_other(self):
        topic, group = self.topic(4), fresh("group")
        members = [self.member(topic, group) for _ in range(2)]
        self.poll_until(members, lambda: [len(member.assignment()) for member in members] == [2, 2])
        self.assertEqual(len(members[0].assignment() | members[1].assignment()), 4)
        members.pop().close()
        self.poll_until(members, lambda: len(members[0].assignment()) == 4)

    def member(self, topic, group):
        consumer = KafkaConsumer(topic, bootstrap_servers=BOOTSTRAP, group_id=group, enable_auto_commit=False,
                                 auto_offset_reset="earliest", heartbeat_interval_ms=500, metadata_max_age_ms=1000)
        self.addCleanup(consumer.close)
        return consumer

    def poll_until(self, consumers, condition):
        """Polls each consumer in a thread of its own: kafka-python 3.0.12 can lose a rebalance that outlives a `poll`."""
        stop = threading.Event()

        def poll(consumer):
            while not stop.is_set():
                consumer.poll(timeout_ms=1000)

        threads = [threading.Thread(target=poll, args=(consumer,)) for consumer in consumers]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + LIMIT_S
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.05)
        stop.set()
        for thread in threads:
            thread.join(LIMIT_S)
        self.assertTrue(condition(), [consumer.assignment() for consumer in consumers])

    def test_read_committed_sees_only_what_was_committed(self):
        topic, group = self.topic(1), fresh("group")
        partition = TopicPartition(topic, 0)
        consumer = self.member(topic, group)
        self.poll_until([consumer], lambda: len(consumer.assignment()) == 1)
        producer = KafkaProducer(bootstrap_servers=BOOTSTRAP, transactional_id=fresh("txn"))
        self.addCleanup(producer.close)
        producer.init_transactions()
        for outcome, offset in (("commit", 11), ("abort", 22), ("commit", 33)):
            producer.begin_transaction()
            for _ in range(10):
                producer.send(topic, outcome.encode())
            producer.send_offsets_to_transaction({partition: OffsetAndMetadata(offset, "", -1)}, consumer.group_metadata())
            producer.flush(LIMIT_S)
            if outcome == "commit":
                producer.commit_transaction()
            else:
                producer.abort_transaction()
            want = offset if outcome == "commit" else 11
            self.committed_becomes(group, partition, want)
        self.assertEqual(self.values(partition, "read_committed"), [b"commit"] * 20)
        self.assertEqual(self.values(partition, "read_uncommitted"), [b"commit"] * 10 + [b"abort"] * 10 + [b"commit"] * 10)

    def committed_becomes(self, group, partition, want):
        """EndTxn is answered before the markers are written, and `list_group_offsets` does not ask for stable offsets."""
        deadline, got = time.monotonic() + LIMIT_S, None
        while got != want and time.monotonic() < deadline:
            got = self.admin.list_group_offsets({group: [partition]})[group][partition].offset
        self.assertEqual(got, want)

    def values(self, partition, isolation):
        consumer = KafkaConsumer(bootstrap_servers=BOOTSTRAP, isolation_level=isolation)
        self.addCleanup(consumer.close)
        consumer.assign([partition])
        consumer.seek_to_beginning(partition)
        (end,) = consumer.end_offsets([partition]).values()
        values, deadline = [], time.monotonic() + LIMIT_S
        while consumer.position(partition) < end:
            self.assertLess(time.monotonic(), deadline)
            for records in consumer.poll(timeout_ms=200).values():
                values += [record.value for record in records]
        return values

    def test_transactions_are_described(self):
        topic, transactional_id = self.topic(1), fresh("txn")
        partition = TopicPartition(topic, 0)
        producer = KafkaProducer(bootstrap_servers=BOOTSTRAP, transactional_id=transactional_id)
        self.addCleanup(producer.close)
        producer.init_transactions()
        producer.begin_transaction()
        producer.send(topic, b"open").get(LIMIT_S)
        described = self.admin.describe_transactions([transactional_id])[transactional_id]
        self.assertEqual(described.state, "Ongoing")
        (active,) = self.admin.describe_producers([partition])[partition].active_producers
        self.assertEqual(active.producer_id, described.producer_id)
        listed = [one.transactional_id for listings in self.admin.list_transactions().values() for one in listings]
        self.assertIn(transactional_id, listed)
        producer.abort_transaction()

    def test_topics_are_listed_grown_changed_and_deleted(self):
        topic = self.topic(2)
        self.assertIn(topic, self.admin.list_topics())
        self.admin.create_partitions({topic: 3})
        self.assertEqual(len(self.admin.describe_topics([topic])[0]["partitions"]), 3)
        self.admin.alter_configs([ConfigResource("TOPIC", topic, {"retention.ms": "7200000",
                                                                  "cleanup.policy": (AlterConfigOp.APPEND, "compact")})])
        changed = self.admin.describe_configs([ConfigResource("TOPIC", topic)])["topic"][topic]
        self.assertEqual({name: entry["value"] for name, entry in changed.items() if entry["config_source"] == "DYNAMIC_TOPIC_CONFIG"},
                         {"retention.ms": "7200000", "cleanup.policy": "delete,compact"})
        self.admin.delete_topics([topic])
        deadline = time.monotonic() + LIMIT_S
        while topic in self.admin.list_topics() and time.monotonic() < deadline:
            time.sleep(0.1)
        self.assertNotIn(topic, self.admin.list_topics())

    def test_records_are_deleted(self):
        topic = self.topic(1)
        partition = TopicPartition(topic, 0)
        self.produce(topic, 10)
        self.admin.delete_records({partition: 4})
        self.assertEqual(self.admin.list_partition_offsets({partition: OffsetSpec.EARLIEST})[partition].offset, 4)

    def test_groups_are_listed_described_changed_and_deleted(self):
        topic, group = self.topic(1), fresh("group")
        partition = TopicPartition(topic, 0)
        consumer = self.member(topic, group)
        self.poll_until([consumer], lambda: len(consumer.assignment()) == 1)
        self.assertIn(group, [listed["group_id"] for listed in self.admin.list_groups()])
        self.assertEqual(self.admin.describe_groups([group])[group]["group_state"], "Stable")
        consumer.close()
        self.admin.alter_group_offsets(group, {partition: OffsetAndMetadata(7, "by hand", -1)})
        offsets = self.admin.list_group_offsets({group: [partition]})[group]
        self.assertEqual((offsets[partition].offset, offsets[partition].metadata), (7, "by hand"))
        self.admin.delete_groups([group])
        self.assertNotIn(group, [listed["group_id"] for listed in self.admin.list_groups()])

    def test_the_cluster_is_described(self):
        cluster = self.admin.describe_cluster()
        self.assertEqual(len(cluster["brokers"]), 1)
        self.assertTrue(cluster["cluster_id"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
