import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.ExecutionException;
import java.util.function.BooleanSupplier;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.config.TopicConfig;
import org.apache.kafka.common.errors.InvalidProducerEpochException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Apache Kafka's own Java clients against the endpoint in BOOTSTRAP. */
public final class Clients {
    private static final String BOOTSTRAP = System.getenv("BOOTSTRAP");
    private static final Duration LIMIT = Duration.ofSeconds(60);
    private static final Duration POLL = Duration.ofMillis(100);

    private interface Check {
        void run() throws Exception;
    }

    public static void main(String[] arguments) throws Exception {
        check("records come back with key, headers and every codec", Clients::recordsComeBack);
        check("two members share a topic, protocol classic", () -> twoMembersShareATopic("classic", Map.of()));
        check("two members share a topic, cooperative", () -> twoMembersShareATopic("classic",
                Map.of("partition.assignment.strategy", "org.apache.kafka.clients.consumer.CooperativeStickyAssignor")));
        check("two members share a topic, protocol consumer", () -> twoMembersShareATopic("consumer", Map.of()));
        check("two members share a topic, protocol consumer, assignor range",
                () -> twoMembersShareATopic("consumer", Map.of("group.remote.assignor", "range")));
        check("the broker resolves a pattern, protocol consumer", Clients::patternIsResolvedByTheBroker);
        check("a static member returns to its partitions, protocol classic", () -> staticMemberReturns("classic"));
        check("a static member returns to its partitions, protocol consumer", () -> staticMemberReturns("consumer"));
        check("a group moves from classic to consumer and back", Clients::groupMovesBetweenProtocols);
        check("read_committed sees only what was committed", Clients::readCommittedSeesOnlyTheCommitted);
        check("offsets are committed with the transaction", Clients::offsetsGoWithTheTransaction);
        check("a newer producer fences the older one", Clients::newerProducerFencesTheOlder);
        check("admin: topics and settings", Clients::adminTopics);
        check("admin: groups", Clients::adminGroups);
        check("admin: producers and transactions", Clients::adminTransactions);
    }

    // ---- produce and consume

    private static void recordsComeBack() throws Exception {
        String topic = createTopic("java-records", 1);
        List<String> codecs = List.of("none", "gzip", "snappy", "lz4", "zstd");
        for (String codec : codecs) {
            try (var producer = producer(Map.of("compression.type", codec, "linger.ms", "5"))) {
                for (int i = 0; i < 200; i++) {
                    var record = new ProducerRecord<>(topic, codec + i, "value " + i);
                    record.headers().add("codec", codec.getBytes());
                    producer.send(record);
                }
                producer.flush();
            }
        }
        TopicPartition partition = new TopicPartition(topic, 0);
        try (var consumer = consumer(Map.of())) {
            consumer.assign(List.of(partition));
            consumer.seekToBeginning(List.of(partition));
            List<ConsumerRecord<String, String>> records = read(consumer, 200 * codecs.size());
            for (int i = 0; i < records.size(); i++) {
                var record = records.get(i);
                String codec = codecs.get(i / 200);
                same(i, (int) record.offset(), "offset");
                same(codec + i % 200, record.key(), "key at " + i);
                same(codec, new String(record.headers().lastHeader("codec").value()), "header at " + i);
            }
            same(Map.of(partition, 1000L), consumer.endOffsets(List.of(partition)), "end offsets");
            long middle = records.get(500).timestamp();
            var found = consumer.offsetsForTimes(Map.of(partition, middle)).get(partition);
            int first = IntStream.range(0, 1000).filter(i -> records.get(i).timestamp() >= middle).findFirst().orElseThrow();
            same((long) first, found.offset(), "offset by time");
        }
    }

    // ---- groups

    private static void twoMembersShareATopic(String protocol, Map<String, String> more) throws Exception {
        String topic = createTopic("java-group", 4);
        String group = fresh("java-group");
        send(topic, 4, 25);
        Map<String, String> settings = new HashMap<>(more);
        settings.putAll(Map.of("group.id", group, "group.protocol", protocol));
        Set<String> seen = new HashSet<>();
        try (var first = consumer(settings)) {
            first.subscribe(List.of(topic));
            until("the first member has all", () -> take(first, seen) && first.assignment().size() == 4);
            var second = consumer(settings);
            second.subscribe(List.of(topic));
            until("both members have two", () -> take(first, seen) & take(second, seen)
                    && first.assignment().size() == 2 && second.assignment().size() == 2);
            same(4, union(first.assignment(), second.assignment()).size(), "partitions owned");
            until("all records were read", () -> take(first, seen) & take(second, seen) && seen.size() == 100);
            first.commitSync();
            second.commitSync();
            second.close();
            until("the first member has all again and has read it", () -> take(first, seen) && first.assignment().size() == 4
                    && first.assignment().stream().mapToLong(first::position).sum() == 100);
            first.commitSync();
            same(100L, first.committed(first.assignment()).values().stream().mapToLong(OffsetAndMetadata::offset).sum(),
                    "sum of committed offsets");
        }
        try (var again = consumer(settings)) {
            again.subscribe(List.of(topic));
            until("the member has all", () -> take(again, new HashSet<>()) && again.assignment().size() == 4);
            send(topic, 4, 1);
            same(4, read(again, 4).size(), "new records");
        }
    }

    private static void patternIsResolvedByTheBroker() throws Exception {
        String prefix = fresh("java-pattern");
        createNamed(prefix + "-a", 2);
        createNamed(prefix + "-b", 2);
        createNamed(prefix + "-other", 2);
        try (var consumer = consumer(Map.of("group.id", fresh("java-pattern"), "group.protocol", "consumer"))) {
            consumer.subscribe(new SubscriptionPattern(prefix + "-[a-c]"));
            until("both topics are assigned", () -> poll(consumer) && consumer.assignment().size() == 4);
            createNamed(prefix + "-c", 1);
            until("the new topic is assigned", () -> poll(consumer) && consumer.assignment().size() == 5);
            same(Set.of(prefix + "-a", prefix + "-b", prefix + "-c"),
                    consumer.assignment().stream().map(TopicPartition::topic).collect(Collectors.toSet()), "topics");
        }
    }

    private static void staticMemberReturns(String protocol) throws Exception {
        String topic = createTopic("java-static", 4);
        Map<String, String> settings = Map.of("group.id", fresh("java-static"), "group.protocol", protocol);
        try (var other = consumer(with(settings, "group.instance.id", "other"))) {
            other.subscribe(List.of(topic));
            Set<TopicPartition> owned;
            try (var first = consumer(with(settings, "group.instance.id", "returns"))) {
                first.subscribe(List.of(topic));
                until("both members have two", () -> poll(first) & poll(other)
                        && first.assignment().size() == 2 && other.assignment().size() == 2);
                owned = first.assignment();
            }
            for (int i = 0; i < 5; i++) {
                poll(other);
            }
            same(2, other.assignment().size(), "partitions of the other while a static member is away");
            try (var second = consumer(with(settings, "group.instance.id", "returns"))) {
                second.subscribe(List.of(topic));
                until("the member is back", () -> poll(second) & poll(other) && second.assignment().size() == 2);
                same(owned, second.assignment(), "partitions after the return");
            }
        }
    }

    private static void groupMovesBetweenProtocols() throws Exception {
        String topic = createTopic("java-move", 4);
        Map<String, String> settings = Map.of("group.id", fresh("java-move"));
        try (var classic = consumer(with(settings, "group.protocol", "classic"))) {
            classic.subscribe(List.of(topic));
            until("the classic member has all", () -> poll(classic) && classic.assignment().size() == 4);
            try (var next = consumer(with(settings, "group.protocol", "consumer"))) {
                next.subscribe(List.of(topic));
                until("a classic and a new member share", () -> poll(classic) & poll(next)
                        && classic.assignment().size() == 2 && next.assignment().size() == 2);
                same(4, union(classic.assignment(), next.assignment()).size(), "partitions owned");
            }
            until("the classic member has all again", () -> poll(classic) && classic.assignment().size() == 4);
        }
    }

    // ---- transactions

    private static void readCommittedSeesOnlyTheCommitted() throws Exception {
        String topic = createTopic("java-txn", 2);
        try (var producer = producer(Map.of("transactional.id", fresh("java-txn")))) {
            producer.initTransactions();
            for (String outcome : List.of("commit 1", "abort 1", "commit 2", "abort 2")) {
                producer.beginTransaction();
                for (int i = 0; i < 20; i++) {
                    producer.send(new ProducerRecord<>(topic, i % 2, outcome, outcome + " " + i));
                }
                producer.flush();
                if (outcome.startsWith("commit")) {
                    producer.commitTransaction();
                } else {
                    producer.abortTransaction();
                }
            }
            producer.beginTransaction();
            producer.send(new ProducerRecord<>(topic, 0, "open", "open")).get();
            List<String> committed = readAll(topic, 2, "read_committed", 40);
            check(committed.stream().allMatch(value -> value.startsWith("commit")), "aborted or open records were seen");
            same(81, readAll(topic, 2, "read_uncommitted", 81).size(), "all records");
            producer.commitTransaction();
            same(41, readAll(topic, 2, "read_committed", 41).size(), "records after the last commit");
        }
    }

    private static void offsetsGoWithTheTransaction() throws Exception {
        String source = createTopic("java-source", 1);
        String sink = createTopic("java-sink", 1);
        String group = fresh("java-etl");
        TopicPartition partition = new TopicPartition(source, 0);
        send(source, 1, 50);
        try (var producer = producer(Map.of("transactional.id", fresh("java-etl")));
             var consumer = consumer(Map.of("group.id", group, "isolation.level", "read_committed"))) {
            producer.initTransactions();
            consumer.subscribe(List.of(source));
            List<ConsumerRecord<String, String>> records = read(consumer, 50);
            for (boolean commit : new boolean[] {false, true}) {
                producer.beginTransaction();
                for (var record : records) {
                    producer.send(new ProducerRecord<>(sink, record.key(), commit + record.value()));
                }
                producer.sendOffsetsToTransaction(Map.of(partition, new OffsetAndMetadata(50)), consumer.groupMetadata());
                if (commit) {
                    producer.commitTransaction();
                } else {
                    producer.abortTransaction();
                    check(consumer.committed(Set.of(partition)).get(partition) == null, "an aborted offset is committed");
                }
            }
            same(50L, consumer.committed(Set.of(partition)).get(partition).offset(), "committed offset");
        }
        check(readAll(sink, 1, "read_committed", 50).stream().allMatch(value -> value.startsWith("true")), "aborted records");
    }

    private static void newerProducerFencesTheOlder() throws Exception {
        String topic = createTopic("java-fence", 1);
        Map<String, String> settings = Map.of("transactional.id", fresh("java-fence"));
        try (var older = producer(settings); var newer = producer(settings)) {
            older.initTransactions();
            older.beginTransaction();
            older.send(new ProducerRecord<>(topic, "k", "of the older")).get();
            newer.initTransactions();
            try {
                older.commitTransaction();
                throw new AssertionError("the older producer committed");
            } catch (ProducerFencedException | InvalidProducerEpochException expected) {
                // This is what the check is about.
            }
            newer.beginTransaction();
            newer.send(new ProducerRecord<>(topic, "k", "of the newer"));
            newer.commitTransaction();
        }
        same(List.of("of the newer"), readAll(topic, 1, "read_committed", 1), "records");
    }

    // ---- admin

    private static void adminTopics() throws Exception {
        try (Admin admin = admin()) {
            String topic = fresh("java-admin");
            admin.createTopics(List.of(new NewTopic(topic, 2, (short) 1).configs(Map.of("retention.ms", "3600000")))).all().get();
            check(admin.listTopics().names().get().contains(topic), "the topic is not listed");
            same(2, admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size(), "partitions");
            admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(3))).all().get();
            until("the topic has grown", () -> get(admin.describeTopics(List.of(topic)).allTopicNames()).get(topic).partitions().size() == 3);

            ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
            ConfigEntry retention = admin.describeConfigs(List.of(resource)).all().get().get(resource).get("retention.ms");
            same("3600000", retention.value(), "retention.ms");
            same(ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, retention.source(), "source of retention.ms");
            admin.incrementalAlterConfigs(Map.of(resource, List.of(
                    new AlterConfigOp(new ConfigEntry(TopicConfig.CLEANUP_POLICY_CONFIG, "compact"), AlterConfigOp.OpType.APPEND),
                    new AlterConfigOp(new ConfigEntry("retention.ms", ""), AlterConfigOp.OpType.DELETE)))).all().get();
            until("the settings have changed", () -> {
                var config = get(admin.describeConfigs(List.of(resource)).all()).get(resource);
                return config.get("retention.ms").isDefault() && config.get("cleanup.policy").value().equals("delete,compact");
            });

            String other = createTopic("java-delete", 1);
            TopicPartition partition = new TopicPartition(other, 0);
            long start = System.currentTimeMillis() - 1000;
            try (var producer = producer(Map.of())) {
                for (int i = 0; i < 10; i++) {
                    producer.send(new ProducerRecord<>(other, 0, start + i, "key", "value"));
                }
            }
            admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(4))).all().get();
            same(4L, admin.listOffsets(Map.of(partition, OffsetSpec.earliest())).all().get().get(partition).offset(), "earliest");
            same(10L, admin.listOffsets(Map.of(partition, OffsetSpec.latest())).all().get().get(partition).offset(), "latest");
            same(9L, admin.listOffsets(Map.of(partition, OffsetSpec.maxTimestamp())).all().get().get(partition).offset(), "newest");

            same(1, admin.describeCluster().nodes().get().size(), "nodes");
            int node = admin.describeCluster().controller().get().id();
            check(admin.describeLogDirs(List.of(node)).allDescriptions().get().get(node).values().stream()
                    .anyMatch(directory -> directory.replicaInfos().containsKey(partition)), "the log directory is not described");
            ConfigResource broker = new ConfigResource(ConfigResource.Type.BROKER, Integer.toString(node));
            check(!admin.describeConfigs(List.of(broker)).all().get().get(broker).entries().isEmpty(), "no broker settings");
            check(!admin.describeFeatures().featureMetadata().get().supportedFeatures().isEmpty(), "no features");

            admin.deleteTopics(List.of(topic, other)).all().get();
            until("the topics are gone", () -> {
                Set<String> names = get(admin.listTopics().names());
                return !names.contains(topic) && !names.contains(other);
            });
        }
    }

    private static void adminGroups() throws Exception {
        String topic = createTopic("java-groups", 2);
        String group = fresh("java-groups");
        TopicPartition partition = new TopicPartition(topic, 0);
        try (Admin admin = admin()) {
            try (var consumer = consumer(Map.of("group.id", group))) {
                consumer.subscribe(List.of(topic));
                until("the member has all", () -> poll(consumer) && consumer.assignment().size() == 2);
                var described = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
                same(GroupState.STABLE, described.groupState(), "state of the group");
                same(2, described.members().iterator().next().assignment().topicPartitions().size(), "partitions of the member");
                check(admin.listGroups().all().get().stream().anyMatch(listed -> listed.groupId().equals(group)), "not listed");
            }
            admin.alterConsumerGroupOffsets(group, Map.of(partition, new OffsetAndMetadata(7, Optional.of(0), "by hand"))).all().get();
            var offsets = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata(group).get();
            same(7L, offsets.get(partition).offset(), "offset");
            same("by hand", offsets.get(partition).metadata(), "metadata");
            admin.deleteConsumerGroupOffsets(group, Set.of(partition)).all().get();
            check(!admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata(group).get().containsKey(partition), "offset left");
            admin.alterConsumerGroupOffsets(group, Map.of(partition, new OffsetAndMetadata(7))).all().get();
            admin.deleteConsumerGroups(List.of(group)).all().get();
            check(admin.listGroups().all().get().stream().noneMatch(listed -> listed.groupId().equals(group)), "still listed");
        }
    }

    private static void adminTransactions() throws Exception {
        String topic = createTopic("java-admin-txn", 1);
        String id = fresh("java-admin-txn");
        TopicPartition partition = new TopicPartition(topic, 0);
        try (Admin admin = admin(); var producer = producer(Map.of("transactional.id", id))) {
            producer.initTransactions();
            producer.beginTransaction();
            producer.send(new ProducerRecord<>(topic, "k", "v")).get();
            check(admin.listTransactions().all().get().stream().anyMatch(listed -> listed.transactionalId().equals(id)), "not listed");
            var described = admin.describeTransactions(List.of(id)).all().get().get(id);
            same("Ongoing", described.state().toString(), "state");
            same(Set.of(partition), described.topicPartitions(), "partitions");
            var active = admin.describeProducers(List.of(partition)).all().get().get(partition).activeProducers().get(0);
            same(described.producerId(), active.producerId(), "producer id");
            same(0L, active.currentTransactionStartOffset().getAsLong(), "first offset of the transaction");
            admin.fenceProducers(List.of(id)).all().get();
            try {
                producer.commitTransaction();
                throw new AssertionError("a fenced producer committed");
            } catch (ProducerFencedException | InvalidProducerEpochException expected) {
                // This is what the check is about.
            }
        }
    }

    // ---- helpers

    private static Properties settings(Map<String, String> more) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", BOOTSTRAP);
        properties.putAll(more);
        return properties;
    }

    private static Admin admin() {
        return Admin.create(settings(Map.of()));
    }

    private static KafkaProducer<String, String> producer(Map<String, String> more) {
        return new KafkaProducer<>(settings(more), new StringSerializer(), new StringSerializer());
    }

    private static KafkaConsumer<String, String> consumer(Map<String, String> more) {
        Properties properties = settings(Map.of("auto.offset.reset", "earliest", "enable.auto.commit", "false"));
        if (!"consumer".equals(more.get("group.protocol"))) {
            properties.put("heartbeat.interval.ms", "500");
        }
        properties.put("metadata.max.age.ms", "1000");
        properties.putAll(more);
        return new KafkaConsumer<>(properties, new StringDeserializer(), new StringDeserializer());
    }

    private static Map<String, String> with(Map<String, String> settings, String name, String value) {
        Map<String, String> all = new HashMap<>(settings);
        all.put(name, value);
        return all;
    }

    private static String fresh(String name) {
        return name + "-" + UUID.randomUUID().toString().substring(0, 8);
    }

    private static String createTopic(String name, int partitions) throws Exception {
        String topic = fresh(name);
        createNamed(topic, partitions);
        return topic;
    }

    private static void createNamed(String topic, int partitions) throws Exception {
        try (Admin admin = admin()) {
            admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1))).all().get();
        }
    }

    private static void send(String topic, int partitions, int each) {
        try (var producer = producer(Map.of())) {
            for (int i = 0; i < partitions * each; i++) {
                producer.send(new ProducerRecord<>(topic, i % partitions, "key", "value " + i));
            }
        }
    }

    private static boolean poll(Consumer<String, String> consumer) {
        consumer.poll(POLL);
        return true;
    }

    private static boolean take(Consumer<String, String> consumer, Set<String> seen) {
        consumer.poll(POLL).forEach(record -> seen.add(record.partition() + "@" + record.offset()));
        return true;
    }

    private static List<ConsumerRecord<String, String>> read(Consumer<String, String> consumer, int count) {
        List<ConsumerRecord<String, String>> records = new ArrayList<>();
        until(count + " records were read", () -> {
            consumer.poll(POLL).forEach(records::add);
            return records.size() >= count;
        });
        same(count, records.size(), "records");
        return records;
    }

    /** Reads what `isolation` shows, to the end of each partition. */
    private static List<String> readAll(String topic, int partitions, String isolation, int count) {
        List<TopicPartition> all = IntStream.range(0, partitions).mapToObj(i -> new TopicPartition(topic, i)).toList();
        List<String> values = new ArrayList<>();
        try (var consumer = consumer(Map.of("isolation.level", isolation))) {
            consumer.assign(all);
            consumer.seekToBeginning(all);
            Map<TopicPartition, Long> ends = consumer.endOffsets(all);
            until("all is read with " + isolation, () -> {
                consumer.poll(POLL).forEach(record -> values.add(record.value()));
                return all.stream().allMatch(partition -> consumer.position(partition) >= ends.get(partition));
            });
        }
        same(count, values.size(), "records seen with " + isolation);
        return values;
    }

    private static Set<TopicPartition> union(Collection<TopicPartition> one, Collection<TopicPartition> other) {
        Set<TopicPartition> all = new HashSet<>(one);
        all.addAll(other);
        return all;
    }

    private static <T> T get(org.apache.kafka.common.KafkaFuture<T> future) {
        try {
            return future.get();
        } catch (InterruptedException | ExecutionException error) {
            throw new AssertionError(error);
        }
    }

    private static void until(String what, BooleanSupplier condition) {
        long deadline = System.nanoTime() + LIMIT.toNanos();
        while (!condition.getAsBoolean()) {
            check(System.nanoTime() < deadline, "not within " + LIMIT.toSeconds() + " s: " + what);
        }
    }

    private static void same(Object expected, Object actual, String what) {
        check(expected.equals(actual), what + ": expected " + expected + ", got " + actual);
    }

    private static void check(boolean condition, String otherwise) {
        if (!condition) {
            throw new AssertionError(otherwise);
        }
    }

    private static void check(String name, Check check) throws Exception {
        long start = System.nanoTime();
        try {
            check.run();
        } catch (Throwable error) {
            System.out.println("failed: " + name);
            throw error;
        }
        System.out.printf("ok: %s (%.1f s)%n", name, (System.nanoTime() - start) / 1e9);
    }
}
