import com.fasterxml.jackson.databind.JsonNode;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.TopologyConfig;
import org.apache.kafka.streams.kstream.*;
import org.apache.kafka.streams.processor.StateStore;
import org.apache.kafka.streams.processor.TopicNameExtractor;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * Builds the topology that a list of steps describes.
 *
 * Each step has an id, the ids of the steps that it hangs on, an operator and the operator's own fields. The fields are
 * those of streams/tests/differential/case.rs, which also says what each operator is.
 */
@SuppressWarnings({"unchecked", "rawtypes"})
final class Interpreter {
    private final StreamsBuilder builder;
    private final Properties properties;
    private final Map<String, Object> results = new HashMap<>();
    private final Map<String, Serde> windowSerdes = new HashMap<>();

    Interpreter(Properties properties) {
        this.properties = properties;
        builder = new StreamsBuilder(new TopologyConfig(new StreamsConfig(properties)));
    }

    Topology topology(JsonNode steps) {
        for (JsonNode step : steps) {
            build(step);
        }
        return builder.build(properties);
    }

    private void build(JsonNode step) {
        Object input = input(step, 0);
        Object result;
        if (input instanceof KStream stream) {
            result = ofStream(step, (KStream<String, String>) stream);
        } else if (input instanceof KGroupedStream grouped) {
            result = ofGrouped(step, (KGroupedStream<String, String>) grouped);
        } else if (input instanceof KTable table && windowSerdes.containsKey(inputId(step))) {
            result = ofWindowed(step, (KTable<Windowed<String>, String>) table);
        } else if (input instanceof KTable table) {
            result = ofTable(step, (KTable<String, String>) table);
        } else {
            result = source(step);
        }
        if (result != null && !step.has("outputs")) {
            results.put(step.get("id").asText(), result);
        }
    }

    private Object source(JsonNode step) {
        String topic = step.get("topic").asText();
        Consumed<String, String> consumed = Consumed.with(TEXT, TEXT);
        if (name(step) != null) {
            consumed = consumed.withName(name(step));
        }
        return switch (op(step)) {
            case "stream" -> {
                List<String> topics = new ArrayList<>(List.of(topic));
                step.path("more").forEach(more -> topics.add(more.asText()));
                yield builder.stream(topics, consumed);
            }
            case "table" -> step.has("history")
                ? builder.table(topic, consumed, versioned(step))
                : builder.table(topic, consumed, keyValue(step, TEXT));
            // With a store that has no name, Kafka Streams finds none.
            case "global_table" -> step.has("store")
                ? builder.globalTable(topic, consumed, keyValue(step, TEXT))
                : builder.globalTable(topic, consumed);
            default -> throw new IllegalArgumentException(step.toString());
        };
    }

    private Object ofStream(JsonNode step, KStream<String, String> stream) {
        String f = text(step, "f");
        String kf = text(step, "kf");
        Named named = named(step);
        return switch (op(step)) {
            case "filter" -> named == null
                ? stream.filter((k, v) -> Functions.test(f, k, v))
                : stream.filter((k, v) -> Functions.test(f, k, v), named);
            case "filter_not" -> named == null
                ? stream.filterNot((k, v) -> Functions.test(f, k, v))
                : stream.filterNot((k, v) -> Functions.test(f, k, v), named);
            case "map" -> named == null
                ? stream.map((k, v) -> KeyValue.pair(Functions.key(kf, k, v), Functions.value(f, k, v)))
                : stream.map((k, v) -> KeyValue.pair(Functions.key(kf, k, v), Functions.value(f, k, v)), named);
            case "map_values" -> named == null
                ? stream.mapValues((k, v) -> Functions.value(f, k, v))
                : stream.mapValues((k, v) -> Functions.value(f, k, v), named);
            case "select_key" -> named == null
                ? stream.selectKey((k, v) -> Functions.key(kf, k, v))
                : stream.selectKey((k, v) -> Functions.key(kf, k, v), named);
            case "flat_map" -> named == null
                ? stream.flatMap((k, v) -> twice(kf, f, k, v))
                : stream.flatMap((k, v) -> twice(kf, f, k, v), named);
            case "flat_map_values" -> named == null
                ? stream.flatMapValues((k, v) -> characters(v))
                : stream.flatMapValues((k, v) -> characters(v), named);
            case "peek" -> named == null ? stream.peek((k, v) -> {}) : stream.peek((k, v) -> {}, named);
            case "for_each" -> {
                if (named == null) {
                    stream.foreach((k, v) -> {});
                } else {
                    stream.foreach((k, v) -> {}, named);
                }
                yield null;
            }
            case "merge" -> named == null
                ? stream.merge((KStream<String, String>) input(step, 1))
                : stream.merge((KStream<String, String>) input(step, 1), named);
            case "branch" -> branch(step, stream);
            case "repartition" -> {
                Repartitioned<String, String> repartitioned = Repartitioned.with(TEXT, TEXT);
                yield stream.repartition(name(step) == null ? repartitioned : repartitioned.withName(name(step)));
            }
            case "to" -> {
                Produced<String, String> produced = Produced.with(TEXT, TEXT);
                stream.to(text(step, "topic"), name(step) == null ? produced : produced.withName(name(step)));
                yield null;
            }
            case "to_dynamic" -> {
                TopicNameExtractor<String, String> extractor = dynamic(text(step, "topic"), f);
                Produced<String, String> produced = Produced.with(TEXT, TEXT);
                stream.to(extractor, name(step) == null ? produced : produced.withName(name(step)));
                yield null;
            }
            case "process_values" -> named == null
                ? stream.processValues(Processors.numbered(text(step, "kind"), text(step, "store")))
                : stream.processValues(Processors.numbered(text(step, "kind"), text(step, "store")), named);
            case "to_table" -> (named == null
                ? stream.toTable(keyValue(step, TEXT))
                : stream.toTable(named, keyValue(step, TEXT))).mapValues(value -> value);
            case "group_by_key" -> stream.groupByKey(grouped(step));
            case "group_by" -> stream.groupBy((k, v) -> Functions.key(kf, k, v), grouped(step));
            default -> joinOfStream(step, stream);
        };
    }

    private Object joinOfStream(JsonNode step, KStream<String, String> stream) {
        Joined<String, String, String> joined = step.has("grace")
            ? Joined.with(TEXT, TEXT, TEXT, name(step), millis(step, "grace"))
            : Joined.with(TEXT, TEXT, TEXT, name(step));
        String kf = text(step, "kf");
        Named named = named(step);
        KeyValueMapper<String, String, String> select = (k, v) -> Functions.key(kf, k, v);
        return switch (op(step)) {
            case "join_table" -> stream.join((KTable<String, String>) input(step, 1), Functions::join, joined);
            case "left_join_table" -> stream.leftJoin((KTable<String, String>) input(step, 1), Functions::join, joined);
            case "join_global" -> {
                GlobalKTable<String, String> global = (GlobalKTable<String, String>) input(step, 1);
                yield named == null
                    ? stream.join(global, select, Functions::join)
                    : stream.join(global, select, Functions::join, named);
            }
            case "left_join_global" -> {
                GlobalKTable<String, String> global = (GlobalKTable<String, String>) input(step, 1);
                yield named == null
                    ? stream.leftJoin(global, select, Functions::join)
                    : stream.leftJoin(global, select, Functions::join, named);
            }
            case "join_stream" -> {
                KStream<String, String> other = (KStream<String, String>) input(step, 1);
                JoinWindows windows = JoinWindows
                    .ofTimeDifferenceAndGrace(millis(step, "before"), millis(step, "grace"))
                    .after(millis(step, "after"));
                StreamJoined<String, String, String> by = StreamJoined.with(TEXT, TEXT, TEXT);
                if (name(step) != null) {
                    by = by.withName(name(step));
                }
                if (text(step, "store") != null) {
                    by = by.withStoreName(text(step, "store"));
                }
                ValueJoiner<String, String, String> joiner = Functions::join;
                yield switch (text(step, "kind")) {
                    case "inner" -> stream.join(other, joiner, windows, by);
                    case "left" -> stream.leftJoin(other, joiner, windows, by);
                    default -> stream.outerJoin(other, joiner, windows, by);
                };
            }
            default -> throw new IllegalArgumentException(step.toString());
        };
    }

    /** The first predicate that holds takes a record; the last output gets what none has taken. */
    private Object branch(JsonNode step, KStream<String, String> stream) {
        List<String> outputs = new ArrayList<>();
        step.get("outputs").forEach(output -> outputs.add(output.asText()));
        BranchedKStream<String, String> split = named(step) == null ? stream.split() : stream.split(named(step));
        int index = 0;
        for (JsonNode predicate : step.get("predicates")) {
            String output = outputs.get(index++);
            split = split.branch(
                (k, v) -> Functions.test(predicate.asText(), k, v),
                Branched.withConsumer(branch -> results.put(output, branch)));
        }
        String output = outputs.get(index);
        split.defaultBranch(Branched.withConsumer(branch -> results.put(output, branch)));
        return split;
    }

    private Object ofGrouped(JsonNode step, KGroupedStream<String, String> grouped) {
        String f = text(step, "f");
        JsonNode window = step.get("window");
        if (op(step).equals("cogroup")) {
            CogroupedKStream<String, String> cogrouped = grouped.cogroup((k, v, a) -> Functions.add(f, v, a));
            for (int index = 1; index < step.get("inputs").size(); index++) {
                KGroupedStream<String, String> other = (KGroupedStream<String, String>) input(step, index);
                cogrouped = cogrouped.cogroup(other, (k, v, a) -> Functions.add(f, v, a));
            }
            if (window != null && !window.isNull()) {
                return cogroupedWindows(step, cogrouped, window);
            }
            return named(step) == null
                ? cogrouped.aggregate(() -> START, keyValue(step, TEXT))
                : cogrouped.aggregate(() -> START, named(step), keyValue(step, TEXT));
        }
        if (window == null || window.isNull()) {
            Named named = named(step);
            return switch (text(step, "kind")) {
                case "count" -> {
                    Materialized<String, Long, KeyValueStore<Bytes, byte[]>> store = keyValue(step, Serdes.Long());
                    if (keptAsUsual(step)) {
                        yield counted(step, named == null ? grouped.count() : grouped.count(named));
                    }
                    yield counted(step, named == null ? grouped.count(store) : grouped.count(named, store));
                }
                case "reduce" -> named == null
                    ? grouped.reduce((a, v) -> Functions.reduce(f, a, v), keyValue(step, TEXT))
                    : grouped.reduce((a, v) -> Functions.reduce(f, a, v), named, keyValue(step, TEXT));
                default -> named == null
                    ? grouped.aggregate(() -> START, (k, v, a) -> Functions.add(f, v, a), keyValue(step, TEXT))
                    : grouped.aggregate(() -> START, (k, v, a) -> Functions.add(f, v, a), named, keyValue(step, TEXT));
            };
        }
        rememberSerde(step, window);
        return switch (text(window, "type")) {
            case "session" -> sessions(step, grouped, window);
            case "sliding" -> windows(step, emit(step, grouped.windowedBy(slidingWindows(window))));
            default -> windows(step, emit(step, grouped.windowedBy(timeWindows(window))));
        };
    }

    private Object cogroupedWindows(JsonNode step, CogroupedKStream<String, String> cogrouped, JsonNode window) {
        rememberSerde(step, window);
        Named named = named(step);
        if (text(window, "type").equals("session")) {
            SessionWindowedCogroupedKStream<String, String> windowed = cogrouped.windowedBy(sessionWindows(window));
            Merger<String, String> merge = (k, a, b) -> Functions.join(a, b);
            Materialized store = materialized(step, TEXT);
            return named == null
                ? windowed.aggregate(() -> START, merge, store)
                : windowed.aggregate(() -> START, merge, named, store);
        }
        TimeWindowedCogroupedKStream<String, String> windowed = text(window, "type").equals("sliding")
            ? cogrouped.windowedBy(slidingWindows(window))
            : cogrouped.windowedBy(timeWindows(window));
        Materialized store = materialized(step, TEXT);
        return named == null
            ? windowed.aggregate(() -> START, store)
            : windowed.aggregate(() -> START, named, store);
    }

    private void rememberSerde(JsonNode step, JsonNode window) {
        Serde serde = switch (text(window, "type")) {
            case "session" -> WindowedSerdes.sessionWindowedSerdeFrom(String.class);
            case "sliding" -> WindowedSerdes.timeWindowedSerdeFrom(String.class, window.get("difference").asLong());
            default -> WindowedSerdes.timeWindowedSerdeFrom(String.class, window.get("size").asLong());
        };
        windowSerdes.put(step.get("id").asText(), serde);
    }

    private static SessionWindows sessionWindows(JsonNode window) {
        return SessionWindows.ofInactivityGapAndGrace(millis(window, "gap"), millis(window, "grace"));
    }

    private static SlidingWindows slidingWindows(JsonNode window) {
        return SlidingWindows.ofTimeDifferenceAndGrace(millis(window, "difference"), millis(window, "grace"));
    }

    private static TimeWindows timeWindows(JsonNode window) {
        TimeWindows windows = TimeWindows.ofSizeAndGrace(millis(window, "size"), millis(window, "grace"));
        return window.has("advance") ? windows.advanceBy(millis(window, "advance")) : windows;
    }

    private static TimeWindowedKStream<String, String> emit(JsonNode step, TimeWindowedKStream<String, String> windowed) {
        return step.path("final").asBoolean() ? windowed.emitStrategy(EmitStrategy.onWindowClose()) : windowed;
    }

    private Object windows(JsonNode step, TimeWindowedKStream<String, String> windowed) {
        String f = text(step, "f");
        Named named = named(step);
        return switch (text(step, "kind")) {
            case "count" -> {
                Materialized store = materialized(step, Serdes.Long());
                if (keptAsUsual(step)) {
                    yield counted(step, named == null ? windowed.count() : windowed.count(named));
                }
                yield counted(step, named == null ? windowed.count(store) : windowed.count(named, store));
            }
            case "reduce" -> {
                Reducer<String> reducer = (a, v) -> Functions.reduce(f, a, v);
                Materialized store = materialized(step, TEXT);
                yield named == null ? windowed.reduce(reducer, store) : windowed.reduce(reducer, named, store);
            }
            default -> {
                Aggregator<String, String, String> add = (k, v, a) -> Functions.add(f, v, a);
                Materialized store = materialized(step, TEXT);
                yield named == null
                    ? windowed.aggregate(() -> START, add, store)
                    : windowed.aggregate(() -> START, add, named, store);
            }
        };
    }

    private Object sessions(JsonNode step, KGroupedStream<String, String> grouped, JsonNode window) {
        SessionWindowedKStream<String, String> windowed = grouped.windowedBy(sessionWindows(window));
        if (step.path("final").asBoolean()) {
            windowed = windowed.emitStrategy(EmitStrategy.onWindowClose());
        }
        String f = text(step, "f");
        Named named = named(step);
        return switch (text(step, "kind")) {
            case "count" -> {
                Materialized store = materialized(step, Serdes.Long());
                if (keptAsUsual(step)) {
                    yield counted(step, named == null ? windowed.count() : windowed.count(named));
                }
                yield counted(step, named == null ? windowed.count(store) : windowed.count(named, store));
            }
            case "reduce" -> {
                Reducer<String> reducer = (a, v) -> Functions.reduce(f, a, v);
                Materialized store = materialized(step, TEXT);
                yield named == null ? windowed.reduce(reducer, store) : windowed.reduce(reducer, named, store);
            }
            default -> {
                Aggregator<String, String, String> add = (k, v, a) -> Functions.add(f, v, a);
                Merger<String, String> merge = (k, a, b) -> Functions.join(a, b);
                Materialized store = materialized(step, TEXT);
                yield named == null
                    ? windowed.aggregate(() -> START, add, merge, store)
                    : windowed.aggregate(() -> START, add, merge, named, store);
            }
        };
    }

    /** Counts are written as they are where the step says so, and go on as text. */
    private KTable counted(JsonNode step, KTable counts) {
        if (text(step, "counts_to") != null) {
            Serde windowed = windowSerdes.get(step.get("id").asText());
            counts.toStream().to(text(step, "counts_to"), Produced.with(windowed == null ? TEXT : windowed, Serdes.Long()));
        }
        return counts.mapValues(count -> String.valueOf(count));
    }

    private Object ofTable(JsonNode step, KTable<String, String> table) {
        String f = text(step, "f");
        String kf = text(step, "kf");
        Named named = named(step);
        boolean stored = step.path("stored").asBoolean();
        return switch (op(step)) {
            case "table_filter" -> {
                Predicate<String, String> test = (k, v) -> Functions.test(f, k, v);
                yield stored
                    ? named == null ? table.filter(test, keyValue(step, TEXT)) : table.filter(test, named, keyValue(step, TEXT))
                    : named == null ? table.filter(test) : table.filter(test, named);
            }
            case "table_filter_not" -> {
                Predicate<String, String> test = (k, v) -> Functions.test(f, k, v);
                yield stored
                    ? named == null ? table.filterNot(test, keyValue(step, TEXT)) : table.filterNot(test, named, keyValue(step, TEXT))
                    : named == null ? table.filterNot(test) : table.filterNot(test, named);
            }
            case "table_map_values" -> {
                ValueMapperWithKey<String, String, String> map = (k, v) -> Functions.value(f, k, v);
                yield stored
                    ? named == null ? table.mapValues(map, keyValue(step, TEXT)) : table.mapValues(map, named, keyValue(step, TEXT))
                    : named == null ? table.mapValues(map) : table.mapValues(map, named);
            }
            case "table_transform_values" -> named == null
                ? table.transformValues(() -> Processors.mapper(f))
                : table.transformValues(() -> Processors.mapper(f), named);
            case "to_stream" -> (named == null ? table.toStream() : table.toStream(named)).mapValues(value -> value);
            case "table_to" -> {
                table.toStream().to(text(step, "topic"), Produced.with(TEXT, TEXT));
                yield null;
            }
            case "table_group" -> {
                KGroupedTable<String, String> grouped = table.groupBy(
                    (k, v) -> KeyValue.pair(Functions.key(kf, k, v), v), grouped(step));
                yield switch (text(step, "kind")) {
                    case "count" -> counted(step, grouped.count(keyValue(step, Serdes.Long())));
                    case "reduce" -> grouped.reduce(
                        (a, v) -> Functions.reduce(f, a, v), (a, v) -> Functions.subtract(v, a), keyValue(step, TEXT));
                    default -> grouped.aggregate(
                        () -> START, (k, v, a) -> Functions.add(f, v, a), (k, v, a) -> Functions.subtract(v, a),
                        keyValue(step, TEXT));
                };
            }
            case "join_tables" -> {
                KTable<String, String> other = (KTable<String, String>) input(step, 1);
                ValueJoiner<String, String, String> joiner = Functions::join;
                yield switch (text(step, "kind")) {
                    case "inner" -> stored
                        ? named == null ? table.join(other, joiner, keyValue(step, TEXT)) : table.join(other, joiner, named, keyValue(step, TEXT))
                        : named == null ? table.join(other, joiner) : table.join(other, joiner, named);
                    case "left" -> stored
                        ? named == null ? table.leftJoin(other, joiner, keyValue(step, TEXT)) : table.leftJoin(other, joiner, named, keyValue(step, TEXT))
                        : named == null ? table.leftJoin(other, joiner) : table.leftJoin(other, joiner, named);
                    default -> stored
                        ? named == null ? table.outerJoin(other, joiner, keyValue(step, TEXT)) : table.outerJoin(other, joiner, named, keyValue(step, TEXT))
                        : named == null ? table.outerJoin(other, joiner) : table.outerJoin(other, joiner, named);
                };
            }
            case "foreign_key_join" -> {
                KTable<String, String> other = (KTable<String, String>) input(step, 1);
                java.util.function.Function<String, String> foreign = value -> Functions.key(kf, null, value);
                ValueJoiner<String, String, String> joiner = Functions::join;
                TableJoined<String, String> by = TableJoined.as(name(step));
                yield text(step, "kind").equals("inner")
                    ? table.join(other, foreign, joiner, by, keyValue(step, TEXT))
                    : table.leftJoin(other, foreign, joiner, by, keyValue(step, TEXT));
            }
            case "suppress" -> table.suppress(limit(step));
            default -> throw new IllegalArgumentException(step.toString());
        };
    }

    private Object ofWindowed(JsonNode step, KTable<Windowed<String>, String> table) {
        String f = text(step, "f");
        Serde<Windowed<String>> serde = windowSerdes.get(inputId(step));
        KTable<Windowed<String>, String> result = switch (op(step)) {
            case "windowed_filter" -> table.filter((k, v) -> Functions.test(f, k.key(), v));
            case "windowed_map_values" -> table.mapValues((k, v) -> Functions.value(f, k.key(), v));
            case "windowed_suppress" -> table.suppress(limit(step));
            default -> null;
        };
        if (result != null) {
            windowSerdes.put(step.get("id").asText(), serde);
            return result;
        }
        return switch (op(step)) {
            case "windowed_to" -> {
                table.toStream().to(text(step, "topic"), Produced.with(serde, TEXT));
                yield null;
            }
            case "unwindow" -> table.toStream().map((k, v) -> KeyValue.pair(
                k.key() + "@" + k.window().start() + "-" + k.window().end(), v));
            default -> throw new IllegalArgumentException(step.toString());
        };
    }

    private static Suppressed limit(JsonNode step) {
        if (!step.has("time_limit")) {
            Suppressed closed = Suppressed.untilWindowCloses(Suppressed.BufferConfig.unbounded());
            return name(step) == null ? closed : ((Suppressed<?>) closed).withName(name(step));
        }
        Suppressed.BufferConfig buffer = step.has("max_records")
            ? Suppressed.BufferConfig.maxRecords(step.get("max_records").asLong())
            : Suppressed.BufferConfig.unbounded();
        Suppressed<?> suppressed = Suppressed.untilTimeLimit(millis(step, "time_limit"), buffer);
        return name(step) == null ? suppressed : suppressed.withName(name(step));
    }

    private Grouped<String, String> grouped(JsonNode step) {
        return name(step) == null ? Grouped.with(TEXT, TEXT) : Grouped.with(name(step), TEXT, TEXT);
    }

    private Materialized<String, String, KeyValueStore<Bytes, byte[]>> versioned(JsonNode step) {
        Materialized<String, String, KeyValueStore<Bytes, byte[]>> materialized = Materialized
            .<String, String>as(Stores.persistentVersionedKeyValueStore(text(step, "store"), millis(step, "history")))
            .withKeySerde(TEXT)
            .withValueSerde(TEXT);
        if (step.path("every_update").asBoolean()) {
            materialized = materialized.withCachingDisabled();
        }
        return step.path("no_changelog").asBoolean() ? materialized.withLoggingDisabled() : materialized;
    }

    private static TopicNameExtractor<String, String> dynamic(String topic, String f) {
        return (k, v, context) -> topic + (Functions.test(f, k, v) ? "-yes" : "-no");
    }

    private <V> Materialized<String, V, KeyValueStore<Bytes, byte[]>> keyValue(JsonNode step, Serde<V> values) {
        return materialized(step, values);
    }

    private <V, S extends StateStore> Materialized<String, V, S> materialized(JsonNode step, Serde<V> values) {
        String store = text(step, "store");
        Materialized<String, V, S> materialized = store == null
            ? Materialized.with(TEXT, values)
            : Materialized.<String, V, S>as(store).withKeySerde(TEXT).withValueSerde(values);
        if (step.path("every_update").asBoolean()) {
            materialized = materialized.withCachingDisabled();
        }
        if (step.path("final").asBoolean()) {
            // Otherwise windows may be forgotten before they are emitted.
            materialized = materialized.withRetention(Duration.ofMinutes(1));
        }
        if (step.path("no_changelog").asBoolean()) {
            materialized = materialized.withLoggingDisabled();
        }
        return materialized;
    }

    /** Counts with a Materialized, even an empty one, use up a number more. */
    private static boolean keptAsUsual(JsonNode step) {
        return text(step, "store") == null
            && !step.path("every_update").asBoolean()
            && !step.path("final").asBoolean()
            && !step.path("no_changelog").asBoolean();
    }

    private Object input(JsonNode step, int index) {
        JsonNode id = step.path("inputs").path(index);
        return id.isMissingNode() ? null : results.get(id.asText());
    }

    private static String inputId(JsonNode step) {
        return step.path("inputs").path(0).asText();
    }

    private static String op(JsonNode step) {
        return step.get("op").asText();
    }

    private static String name(JsonNode step) {
        return text(step, "name");
    }

    private static Named named(JsonNode step) {
        return name(step) == null ? null : Named.as(name(step));
    }

    private static String text(JsonNode step, String field) {
        JsonNode value = step.get(field);
        return value == null || value.isNull() ? null : value.asText();
    }

    private static Duration millis(JsonNode step, String field) {
        return Duration.ofMillis(step.get(field).asLong());
    }

    private static List<KeyValue<String, String>> twice(String kf, String f, String key, String value) {
        KeyValue<String, String> first = KeyValue.pair(Functions.key(kf, key, value), value);
        return List.of(first, KeyValue.pair(Functions.key(kf, key, value), Functions.value(f, key, value)));
    }

    private static List<String> characters(String value) {
        return value == null ? List.of() : value.chars().mapToObj(Character::toString).toList();
    }

    private static final Serde<String> TEXT = Serdes.String();
    private static final String START = "0";
}
