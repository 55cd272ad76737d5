"""kafka-python against the endpoint in BOOTSTRAP."""

import os
import threading
import time
import unittest
import uuid

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

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
            consumer = KafkaConsumer(topic, bootstrap_servers=BOOTSTRAP, group_id=group, auto_offset_reset="earliest",
                                     enable_auto_commit=False)
            while not stop.is_set():
                for partition, records in consumer.poll(timeout_ms=200).items():
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

    def test_topics_are_listed_grown_and_deleted(self):
        topic = self.topic(2)
        self.assertIn(topic, self.admin.list_topics())
        self.admin.delete_topics([topic])
        deadline = time.monotonic() + LIMIT_S
        while topic in self.admin.list_topics() and time.monotonic() < deadline:
            time.sleep(0.1)
        self.assertNotIn(topic, self.admin.list_topics())


if __name__ == "__main__":
    unittest.main(verbosity=2)
