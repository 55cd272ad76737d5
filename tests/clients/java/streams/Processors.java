import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.kstream.ValueTransformerWithKey;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.kstream.internals.SessionWindow;
import org.apache.kafka.streams.processor.ProcessorContext;
import org.apache.kafka.streams.processor.StateStore;
import org.apache.kafka.streams.processor.api.FixedKeyProcessor;
import org.apache.kafka.streams.processor.api.FixedKeyProcessorContext;
import org.apache.kafka.streams.processor.api.FixedKeyProcessorSupplier;
import org.apache.kafka.streams.processor.api.FixedKeyRecord;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.SessionStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;
import org.apache.kafka.streams.state.VersionedKeyValueStore;
import org.apache.kafka.streams.state.VersionedRecord;
import org.apache.kafka.streams.state.WindowStore;

/** Processors and transformers of described topologies, as in streams/tests/differential/processors.rs. */
final class Processors {
    private Processors() {}

    /** Values with a number before them, from a store of this kind. */
    static FixedKeyProcessorSupplier<String, String, String> numbered(String kind, String store) {
        return new FixedKeyProcessorSupplier<>() {
            @Override
            public Set<StoreBuilder<?>> stores() {
                return Set.of(builder(kind, store));
            }

            @Override
            public FixedKeyProcessor<String, String, String> get() {
                return new Numbers(store);
            }
        };
    }

    private static StoreBuilder<?> builder(String kind, String store) {
        Serde<String> text = Serdes.String();
        Serde<Long> number = Serdes.Long();
        return switch (kind) {
            case "key_value" -> Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore(store), text, number);
            case "window" -> Stores.windowStoreBuilder(
                Stores.persistentWindowStore(store, RETENTION, Duration.ofMillis(10), false), text, number);
            case "session" -> Stores.sessionStoreBuilder(Stores.persistentSessionStore(store, RETENTION), text, number);
            default -> Stores.versionedKeyValueStoreBuilder(
                Stores.persistentVersionedKeyValueStore(store, RETENTION), text, number);
        };
    }

    private static final class Numbers implements FixedKeyProcessor<String, String, String> {
        private final String name;
        private FixedKeyProcessorContext<String, String> context;
        private StateStore store;

        Numbers(String name) {
            this.name = name;
        }

        @Override
        public void init(FixedKeyProcessorContext<String, String> context) {
            this.context = context;
            store = context.getStateStore(name);
        }

        @Override
        public void process(FixedKeyRecord<String, String> record) {
            String value = record.value();
            if (record.key() != null) {
                long number = next(record.key(), record.timestamp());
                value = Functions.value("append:#", null, number + Functions.text(value));
            }
            context.forward(record.withValue(value));
        }

        @SuppressWarnings("unchecked")
        private long next(String key, long timestamp) {
            long number = 1;
            if (store instanceof KeyValueStore<?, ?> any) {
                KeyValueStore<String, Long> all = (KeyValueStore<String, Long>) any;
                Long before = all.get(key);
                number += before == null ? 0 : before;
                all.put(key, number);
            } else if (store instanceof WindowStore<?, ?> any) {
                WindowStore<String, Long> windows = (WindowStore<String, Long>) any;
                long start = timestamp / 10 * 10;
                Long before = windows.fetch(key, start);
                number += before == null ? 0 : before;
                windows.put(key, number, start);
            } else if (store instanceof SessionStore<?, ?> any) {
                SessionStore<String, Long> sessions = (SessionStore<String, Long>) any;
                long start = timestamp;
                long end = timestamp;
                List<Windowed<String>> merged = new ArrayList<>();
                try (KeyValueIterator<Windowed<String>, Long> found =
                        sessions.findSessions(key, timestamp - GAP, timestamp + GAP)) {
                    while (found.hasNext()) {
                        KeyValue<Windowed<String>, Long> session = found.next();
                        start = Math.min(start, session.key.window().start());
                        end = Math.max(end, session.key.window().end());
                        number += session.value;
                        merged.add(session.key);
                    }
                }
                merged.forEach(sessions::remove);
                sessions.put(new Windowed<>(key, new SessionWindow(start, end)), number);
            } else {
                VersionedKeyValueStore<String, Long> versions = (VersionedKeyValueStore<String, Long>) store;
                VersionedRecord<Long> before = versions.get(key, timestamp);
                number += before == null ? 0 : before.value();
                versions.put(key, number, timestamp);
            }
            return number;
        }
    }

    /** The same as mapValues. */
    static ValueTransformerWithKey<String, String, String> mapper(String f) {
        return new ValueTransformerWithKey<>() {
            @Override
            public void init(ProcessorContext context) {}

            @Override
            public String transform(String key, String value) {
                return value == null ? null : Functions.value(f, key, value);
            }

            @Override
            public void close() {}
        };
    }

    private static final long GAP = 5;
    private static final Duration RETENTION = Duration.ofHours(1);
}
