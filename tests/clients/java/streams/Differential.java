import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.InputStreamReader;
import java.io.OutputStreamWriter;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.HexFormat;
import java.util.Properties;
import java.util.TreeSet;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.TestInputTopic;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.TopologyTestDriver;
import org.apache.kafka.streams.state.BuiltInDslStoreSuppliers;
import org.apache.kafka.streams.test.TestRecord;

/**
 * What Kafka Streams makes of described topologies and inputs.
 *
 * Reads one case per line of standard input and answers each with one line: the topology's description, and all records
 * of all topics it has written, as {"describe": .., "topics": {name: [[key, value, timestamp, [[header, value]..], input]..]}},
 * keys, values and headers in hexadecimal, with the number of the input that they come from. A topology that Kafka Streams refuses is answered with {"error": ..}.
 */
public final class Differential {
    public static void main(String[] arguments) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        BufferedWriter out = new BufferedWriter(new OutputStreamWriter(System.out, StandardCharsets.UTF_8));
        System.setOut(new PrintStream(System.err));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            ObjectNode answer;
            try {
                answer = answer(JSON.readTree(line));
            } catch (Exception | AssertionError error) {
                Throwable cause = error;
                StringBuilder text = new StringBuilder(error.toString());
                while ((cause = cause.getCause()) != null) {
                    text.append("; ").append(cause);
                }
                answer = JSON.createObjectNode().put("error", text.toString());
            }
            out.write(JSON.writeValueAsString(answer));
            out.newLine();
            out.flush();
        }
    }

    private static ObjectNode answer(JsonNode test) throws Exception {
        Properties properties = new Properties();
        properties.put(StreamsConfig.APPLICATION_ID_CONFIG, "app");
        properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, "none:1");
        properties.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        properties.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        properties.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, test.path("cache").asBoolean() ? 10 << 20 : 0);
        properties.put(StreamsConfig.STATE_DIR_CONFIG, STATE);
        if (!test.path("persistent").asBoolean()) {
            properties.put(
                StreamsConfig.DSL_STORE_SUPPLIERS_CLASS_CONFIG,
                BuiltInDslStoreSuppliers.InMemoryDslStoreSuppliers.class);
        }
        ObjectNode answer = JSON.createObjectNode();
        Topology topology = new Interpreter(properties).topology(test.get("steps"));
        answer.put("describe", topology.describe().toString());
        try (TopologyTestDriver driver = new TopologyTestDriver(topology, properties, Instant.ofEpochMilli(0))) {
            ObjectNode topics = answer.putObject("topics");
            int sent = 0;
            for (JsonNode record : test.get("records")) {
                send(driver, record);
                for (String topic : new TreeSet<>(driver.producedTopicNames())) {
                    read(driver, topic, topics.withArray("/" + topic), sent);
                }
                sent++;
            }
        }
        return answer;
    }

    /** A record is [topic, key, value, timestamp, [[header, value]..]]; one without a topic moves the wall clock on. */
    private static void send(TopologyTestDriver driver, JsonNode record) {
        if (record.get(0).isNull()) {
            driver.advanceWallClockTime(Duration.ofMillis(record.get(3).asLong()));
            return;
        }
        StringSerializer text = new StringSerializer();
        TestInputTopic<String, String> topic = driver.createInputTopic(record.get(0).asText(), text, text);
        RecordHeaders headers = new RecordHeaders();
        for (JsonNode header : record.get(4)) {
            headers.add(header.get(0).asText(), header.get(1).asText().getBytes(StandardCharsets.UTF_8));
        }
        String key = record.get(1).isNull() ? null : record.get(1).asText();
        String value = record.get(2).isNull() ? null : record.get(2).asText();
        topic.pipeInput(new TestRecord<>(key, value, headers, record.get(3).asLong()));
    }

    private static void read(TopologyTestDriver driver, String topic, ArrayNode records, int sent) {
        ByteArrayDeserializer bytes = new ByteArrayDeserializer();
        for (TestRecord<byte[], byte[]> record : driver.createOutputTopic(topic, bytes, bytes).readRecordsToList()) {
            ArrayNode written = records.addArray();
            Long timestamp = record.timestamp();
            // A suppression buffer leaves the time of its changelog to the producer.
            written.add(hex(record.key())).add(hex(record.value())).add(timestamp == null ? 0 : timestamp);
            ArrayNode headers = written.addArray();
            for (Header header : record.headers()) {
                headers.addArray().add(header.key()).add(hex(header.value()));
            }
            written.add(sent);
        }
    }

    private static String hex(byte[] bytes) {
        return bytes == null ? null : HexFormat.of().formatHex(bytes);
    }

    private static final ObjectMapper JSON = new ObjectMapper();
    /** A directory of this process alone. */
    private static final String STATE =
        System.getProperty("java.io.tmpdir") + "/streams-differential-" + ProcessHandle.current().pid();
}
