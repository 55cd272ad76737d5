// Package confluent checks confluent-kafka-go (librdkafka from Go) against the endpoint in BOOTSTRAP.
package confluent

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

const (
	limit   = 60 * time.Second
	limitMs = 60_000
)

func fresh(name string) string { return fmt.Sprintf("%s-%08x", name, rand.Uint32()) }

// settings are given as name and value in turn.
func settings(more ...string) *kafka.ConfigMap {
	c := kafka.ConfigMap{"bootstrap.servers": os.Getenv("BOOTSTRAP"), "topic.metadata.refresh.interval.ms": 1000}
	for pair := range slices.Chunk(more, 2) {
		c[pair[0]] = pair[1]
	}
	return &c
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func same[V comparable](t *testing.T, what string, want, got V) {
	t.Helper()
	if want != got {
		t.Fatalf("%s: expected %v, got %v", what, want, got)
	}
}

func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !condition(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

func admin(t *testing.T) *kafka.AdminClient {
	t.Helper()
	a, err := kafka.NewAdminClient(settings())
	ok(t, err)
	t.Cleanup(a.Close)
	return a
}

func topic(t *testing.T, partitions int) string {
	t.Helper()
	name := fresh("confluent-go")
	results, err := admin(t).CreateTopics(bounded(t), []kafka.TopicSpecification{{Topic: name, NumPartitions: partitions, ReplicationFactor: 1}})
	ok(t, err)
	same(t, "create "+name, kafka.ErrNoError, results[0].Error.Code())
	return name
}

func producer(t *testing.T, more ...string) *kafka.Producer {
	t.Helper()
	p, err := kafka.NewProducer(settings(more...))
	ok(t, err)
	t.Cleanup(p.Close)
	return p
}

// send produces and waits until each record is acknowledged.
func send(t *testing.T, p *kafka.Producer, topic string, partitions int, values ...string) {
	t.Helper()
	delivered := make(chan kafka.Event, len(values))
	for i, value := range values {
		to := kafka.TopicPartition{Topic: &topic, Partition: int32(i % partitions)}
		ok(t, p.Produce(&kafka.Message{TopicPartition: to, Key: []byte("key"), Value: []byte(value)}, delivered))
	}
	for range values {
		ok(t, (<-delivered).(*kafka.Message).TopicPartition.Error)
	}
}

func numbers(count int) []string {
	values := make([]string, count)
	for i := range values {
		values[i] = fmt.Sprint(i)
	}
	return values
}

func consumer(t *testing.T, more ...string) *kafka.Consumer {
	t.Helper()
	c, err := kafka.NewConsumer(settings(append([]string{"auto.offset.reset", "earliest", "enable.auto.commit", "false"}, more...)...))
	ok(t, err)
	t.Cleanup(func() {
		if !c.IsClosed() {
			c.Close()
		}
	})
	return c
}

// readAll reads the one partition of topic up to what isolation lets see.
func readAll(t *testing.T, topic, isolation string, count int) (values []string) {
	t.Helper()
	c := consumer(t, "group.id", fresh("reader"), "isolation.level", isolation, "enable.partition.eof", "true")
	ok(t, c.Assign([]kafka.TopicPartition{{Topic: &topic, Partition: 0, Offset: kafka.OffsetBeginning}}))
	ended := false
	until(t, "the end is reached", func() bool {
		switch event := c.Poll(100).(type) {
		case *kafka.Message:
			values = append(values, string(event.Value))
		case kafka.PartitionEOF:
			ended = true
		case kafka.Error:
			t.Fatal(event)
		}
		return ended
	})
	same(t, "records", count, len(values))
	return values
}

func TestRecordsComeBackWithEveryCodec(t *testing.T) {
	name := topic(t, 1)
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		send(t, producer(t, "compression.type", codec, "enable.idempotence", "true"), name, 1, numbers(200)...)
	}
	for i, value := range readAll(t, name, "read_uncommitted", 1000) {
		same(t, fmt.Sprint("value at ", i), fmt.Sprint(i%200), value)
	}
}

func TestTwoMembersShareATopic(t *testing.T) {
	for name, more := range map[string][]string{
		"classic":     {"partition.assignment.strategy", "range", "heartbeat.interval.ms", "500"},
		"cooperative": {"partition.assignment.strategy", "cooperative-sticky", "heartbeat.interval.ms", "500"},
		"consumer":    {"group.protocol", "consumer"},
	} {
		t.Run(name, func(t *testing.T) {
			twoMembersShareATopic(t, more)
		})
	}
}

func assignment(t *testing.T, c *kafka.Consumer) []kafka.TopicPartition {
	t.Helper()
	owned, err := c.Assignment()
	ok(t, err)
	return owned
}

func twoMembersShareATopic(t *testing.T, more []string) {
	name, group, seen := topic(t, 4), fresh("group"), map[string]bool{}
	send(t, producer(t), name, 4, numbers(100)...)
	members := []*kafka.Consumer{}
	for range 2 {
		c := consumer(t, append([]string{"group.id", group}, more...)...)
		ok(t, c.Subscribe(name, nil))
		members = append(members, c)
	}
	pollUntil := func(what string, condition func() bool) {
		until(t, what, func() bool {
			for _, c := range members {
				switch event := c.Poll(100).(type) {
				case *kafka.Message:
					seen[string(event.Value)] = true
				case kafka.Error:
					t.Fatal(event)
				}
			}
			return condition()
		})
	}
	pollUntil("both have two", func() bool { return len(assignment(t, members[0])) == 2 && len(assignment(t, members[1])) == 2 })
	owned := map[int32]bool{}
	for _, partition := range append(assignment(t, members[0]), assignment(t, members[1])...) {
		owned[partition.Partition] = true
	}
	same(t, "partitions", "[0 1 2 3]", fmt.Sprint(slices.Sorted(maps.Keys(owned))))
	ok(t, members[1].Close())
	members = members[:1]
	pollUntil("the first member has all", func() bool { return len(assignment(t, members[0])) == 4 })
	pollUntil("all is read", func() bool {
		positions, err := members[0].Position(assignment(t, members[0]))
		ok(t, err)
		return sum(positions) == 100
	})
	same(t, "records seen", 100, len(seen))
	_, err := members[0].Commit()
	ok(t, err)
	committed, err := members[0].Committed(assignment(t, members[0]), limitMs)
	ok(t, err)
	same(t, "sum of committed offsets", 100, sum(committed))
}

// sum adds the offsets that are known.
func sum(partitions []kafka.TopicPartition) (sum int64) {
	for _, partition := range partitions {
		sum += max(0, int64(partition.Offset))
	}
	return sum
}

func TestReadCommittedSeesOnlyWhatWasCommitted(t *testing.T) {
	name := topic(t, 1)
	member := consumer(t, "group.id", fresh("group"))
	ok(t, member.Subscribe(name, nil))
	until(t, "the member has its partition", func() bool { member.Poll(100); return len(assignment(t, member)) == 1 })
	p := producer(t, "transactional.id", fresh("txn"))
	ok(t, p.InitTransactions(bounded(t)))
	for _, step := range []struct {
		commit            bool
		offset, committed kafka.Offset
	}{{true, 11, 11}, {false, 22, 11}, {true, 33, 33}} {
		ok(t, p.BeginTransaction())
		send(t, p, name, 1, slices.Repeat([]string{fmt.Sprint(step.commit)}, 10)...)
		metadata, err := member.GetConsumerGroupMetadata()
		ok(t, err)
		ok(t, p.SendOffsetsToTransaction(bounded(t), []kafka.TopicPartition{{Topic: &name, Partition: 0, Offset: step.offset}}, metadata))
		if step.commit {
			ok(t, p.CommitTransaction(bounded(t)))
		} else {
			ok(t, p.AbortTransaction(bounded(t)))
		}
		committed, err := member.Committed([]kafka.TopicPartition{{Topic: &name, Partition: 0}}, limitMs)
		ok(t, err)
		same(t, "committed offset", step.committed, committed[0].Offset)
	}
	for _, value := range readAll(t, name, "read_committed", 20) {
		same(t, "value", "true", value)
	}
	readAll(t, name, "read_uncommitted", 30)
}

func TestANewerProducerFencesTheOlder(t *testing.T) {
	name, id := topic(t, 1), fresh("txn")
	begin := func(value string) *kafka.Producer {
		p := producer(t, "transactional.id", id)
		ok(t, p.InitTransactions(bounded(t)))
		ok(t, p.BeginTransaction())
		send(t, p, name, 1, value)
		return p
	}
	older := begin("of the older")
	newer := begin("of the newer")
	err := older.CommitTransaction(bounded(t))
	if err == nil || !err.(kafka.Error).IsFatal() {
		t.Fatalf("the older producer got %v", err)
	}
	ok(t, newer.CommitTransaction(bounded(t)))
	same(t, "value", "of the newer", readAll(t, name, "read_committed", 1)[0])
}

func TestAdminTopicsSettingsAndRecords(t *testing.T) {
	a, name := admin(t), topic(t, 2)
	_, err := a.CreatePartitions(bounded(t), []kafka.PartitionsSpecification{{Topic: name, IncreaseTo: 3}})
	ok(t, err)
	until(t, "the topic has grown", func() bool {
		described, err := a.DescribeTopics(bounded(t), kafka.NewTopicCollectionOfTopicNames([]string{name}))
		ok(t, err)
		return len(described.TopicDescriptions[0].Partitions) == 3
	})
	resource := kafka.ConfigResource{Type: kafka.ResourceTopic, Name: name}
	change := resource
	change.Config = []kafka.ConfigEntry{{Name: "retention.ms", Value: "7200000", IncrementalOperation: kafka.AlterConfigOpTypeSet}}
	altered, err := a.IncrementalAlterConfigs(bounded(t), []kafka.ConfigResource{change})
	ok(t, err)
	same(t, "alter", kafka.ErrNoError, altered[0].Error.Code())
	until(t, "the setting has changed", func() bool {
		described, err := a.DescribeConfigs(bounded(t), []kafka.ConfigResource{resource})
		ok(t, err)
		return described[0].Config["retention.ms"].Value == "7200000"
	})
	send(t, producer(t), name, 1, numbers(10)...)
	_, err = a.DeleteRecords(bounded(t), []kafka.TopicPartition{{Topic: &name, Partition: 0, Offset: 4}})
	ok(t, err)
	partition := kafka.TopicPartition{Topic: &name, Partition: 0}
	offsets, err := a.ListOffsets(bounded(t), map[kafka.TopicPartition]kafka.OffsetSpec{partition: kafka.EarliestOffsetSpec})
	ok(t, err)
	for _, found := range offsets.ResultInfos {
		same(t, "first offset", 4, found.Offset)
	}
	_, err = a.DeleteTopics(bounded(t), []string{name})
	ok(t, err)
	until(t, "the topic is gone", func() bool {
		metadata, err := a.GetMetadata(nil, true, limitMs)
		ok(t, err)
		_, there := metadata.Topics[name]
		return !there
	})
}

func TestAdminGroups(t *testing.T) {
	a, name, group := admin(t), topic(t, 1), fresh("group")
	metadata := "by hand"
	_, err := a.AlterConsumerGroupOffsets(bounded(t), []kafka.ConsumerGroupTopicPartitions{{Group: group,
		Partitions: []kafka.TopicPartition{{Topic: &name, Partition: 0, Offset: 7, Metadata: &metadata}}}})
	ok(t, err)
	offsets, err := a.ListConsumerGroupOffsets(bounded(t), []kafka.ConsumerGroupTopicPartitions{{Group: group}})
	ok(t, err)
	offset := offsets.ConsumerGroupsTopicPartitions[0].Partitions[0]
	same(t, "offset", "7 by hand", fmt.Sprint(int64(offset.Offset), " ", *offset.Metadata))
	listed, err := a.ListConsumerGroups(bounded(t))
	ok(t, err)
	same(t, "listed", true, slices.ContainsFunc(listed.Valid, func(g kafka.ConsumerGroupListing) bool { return g.GroupID == group }))
	described, err := a.DescribeConsumerGroups(bounded(t), []string{group})
	ok(t, err)
	same(t, "state", kafka.ConsumerGroupStateEmpty, described.ConsumerGroupDescriptions[0].State)
	_, err = a.DeleteConsumerGroups(bounded(t), []string{group})
	ok(t, err)
}
