// Package sarama checks sarama against the endpoint in BOOTSTRAP.
package sarama

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	kafka "github.com/IBM/sarama"
)

const limit = 60 * time.Second

var bootstrap = []string{os.Getenv("BOOTSTRAP")}

func fresh(name string) string { return fmt.Sprintf("%s-%08x", name, rand.Uint32()) }

func config() *kafka.Config {
	c := kafka.NewConfig()
	c.Version = kafka.MaxVersion
	c.Metadata.RefreshFrequency = time.Second
	c.Producer.Return.Successes = true
	c.Producer.RequiredAcks = kafka.WaitForAll
	c.Producer.Partitioner = kafka.NewManualPartitioner
	c.Consumer.Offsets.Initial = kafka.OffsetOldest
	c.Consumer.Group.Heartbeat.Interval = 500 * time.Millisecond
	return c
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
	for deadline := time.Now().Add(limit); !condition(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

func admin(t *testing.T) kafka.ClusterAdmin {
	t.Helper()
	a, err := kafka.NewClusterAdmin(bootstrap, config())
	ok(t, err)
	t.Cleanup(func() { a.Close() })
	return a
}

func topic(t *testing.T, partitions int32) string {
	t.Helper()
	name := fresh("sarama")
	ok(t, admin(t).CreateTopic(name, &kafka.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1}, false))
	return name
}

func message(topic string, partition int, value string) *kafka.ProducerMessage {
	return &kafka.ProducerMessage{Topic: topic, Partition: int32(partition), Key: kafka.StringEncoder("key"), Value: kafka.StringEncoder(value),
		Headers: []kafka.RecordHeader{{Key: []byte("header"), Value: []byte(value)}}}
}

func producer(t *testing.T, set func(*kafka.Config)) kafka.SyncProducer {
	t.Helper()
	c := config()
	set(c)
	p, err := kafka.NewSyncProducer(bootstrap, c)
	ok(t, err)
	t.Cleanup(func() { p.Close() })
	return p
}

func idempotent(c *kafka.Config) {
	c.Producer.Idempotent = true
	c.Net.MaxOpenRequests = 1
}

func produce(t *testing.T, topic string, partitions, count int, set func(*kafka.Config)) {
	t.Helper()
	messages := make([]*kafka.ProducerMessage, count)
	for i := range messages {
		messages[i] = message(topic, i%partitions, fmt.Sprint(i))
	}
	ok(t, producer(t, set).SendMessages(messages))
}

// readAll reads the one partition of topic until count records came; one more is an error.
func readAll(t *testing.T, topic string, isolation kafka.IsolationLevel, count int) (values []string) {
	t.Helper()
	c := config()
	c.Consumer.IsolationLevel = isolation
	consumer, err := kafka.NewConsumer(bootstrap, c)
	ok(t, err)
	defer consumer.Close()
	reader, err := consumer.ConsumePartition(topic, 0, kafka.OffsetOldest)
	ok(t, err)
	defer reader.Close()
	timeout := time.After(limit)
	for {
		select {
		case m := <-reader.Messages():
			values = append(values, string(m.Value))
			if len(values) == count {
				timeout = time.After(500 * time.Millisecond)
			}
		case <-timeout:
			same(t, "records", count, len(values))
			return values
		}
	}
}

func TestRecordsComeBackWithEveryCodec(t *testing.T) {
	name := topic(t, 1)
	codecs := []kafka.CompressionCodec{kafka.CompressionNone, kafka.CompressionGZIP, kafka.CompressionSnappy, kafka.CompressionLZ4, kafka.CompressionZSTD}
	for _, codec := range codecs {
		produce(t, name, 1, 200, func(c *kafka.Config) { idempotent(c); c.Producer.Compression = codec })
	}
	for i, value := range readAll(t, name, kafka.ReadUncommitted, 1000) {
		same(t, fmt.Sprint("value at ", i), fmt.Sprint(i%200), value)
	}
}

// member is one member of a group.
type member struct {
	group kafka.ConsumerGroup
	seen  *sync.Map

	mutex      sync.Mutex
	partitions []int32
}

func (m *member) Setup(s kafka.ConsumerGroupSession) error {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.partitions = nil
	for _, partitions := range s.Claims() {
		m.partitions = append(m.partitions, partitions...)
	}
	return nil
}

func (m *member) Cleanup(s kafka.ConsumerGroupSession) error {
	s.Commit()
	return nil
}

func (m *member) ConsumeClaim(s kafka.ConsumerGroupSession, claim kafka.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		m.seen.Store(string(message.Value), true)
		s.MarkMessage(message, "")
	}
	return nil
}

func (m *member) owned() []int32 {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return slices.Clone(m.partitions)
}

func join(t *testing.T, group, topic string, seen *sync.Map, set func(*kafka.Config)) (m *member, leave func()) {
	t.Helper()
	c := config()
	set(c)
	joined, err := kafka.NewConsumerGroup(bootstrap, group, c)
	ok(t, err)
	m = &member{group: joined, seen: seen}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if err := joined.Consume(ctx, []string{topic}, m); err != nil && !errors.Is(err, kafka.ErrClosedConsumerGroup) {
				t.Error(err)
				return
			}
		}
	}()
	leave = sync.OnceFunc(func() { cancel(); <-done; ok(t, joined.Close()) })
	t.Cleanup(leave)
	return m, leave
}

func TestTwoMembersShareATopic(t *testing.T) {
	for _, strategy := range []kafka.BalanceStrategy{kafka.NewBalanceStrategyRange(), kafka.NewBalanceStrategySticky()} {
		t.Run(strategy.Name(), func(t *testing.T) {
			twoMembersShareATopic(t, func(c *kafka.Config) { c.Consumer.Group.Rebalance.GroupStrategies = []kafka.BalanceStrategy{strategy} })
		})
	}
}

func twoMembersShareATopic(t *testing.T, set func(*kafka.Config)) {
	name, group, seen := topic(t, 4), fresh("group"), &sync.Map{}
	produce(t, name, 4, 100, idempotent)
	first, leaveFirst := join(t, group, name, seen, set)
	until(t, "the first member has all", func() bool { return len(first.owned()) == 4 })
	second, leaveSecond := join(t, group, name, seen, set)
	until(t, "both have two", func() bool { return len(first.owned()) == 2 && len(second.owned()) == 2 })
	owned := append(first.owned(), second.owned()...)
	slices.Sort(owned)
	same(t, "partitions", "[0 1 2 3]", fmt.Sprint(owned))
	leaveSecond()
	until(t, "the first member has all again", func() bool { return len(first.owned()) == 4 })
	until(t, "all is read", func() bool {
		count := 0
		seen.Range(func(any, any) bool { count++; return true })
		return count == 100
	})
	leaveFirst()
	offsets, err := admin(t).ListConsumerGroupOffsets(group, map[string][]int32{name: {0, 1, 2, 3}})
	ok(t, err)
	var sum int64
	for partition := range int32(4) {
		sum += offsets.GetBlock(name, partition).Offset
	}
	same(t, "sum of committed offsets", 100, sum)
}

func transactional(id string) func(*kafka.Config) {
	return func(c *kafka.Config) { idempotent(c); c.Producer.Transaction.ID = id }
}

func TestReadCommittedSeesOnlyWhatWasCommitted(t *testing.T) {
	name, group := topic(t, 1), fresh("group")
	p, a := producer(t, transactional(fresh("txn"))), admin(t)
	for _, step := range []struct {
		commit            bool
		offset, committed int64
	}{{true, 11, 11}, {false, 22, 11}, {true, 33, 33}} {
		ok(t, p.BeginTxn())
		for range 10 {
			_, _, err := p.SendMessage(message(name, 0, fmt.Sprint(step.commit)))
			ok(t, err)
		}
		ok(t, p.AddOffsetsToTxn(map[string][]*kafka.PartitionOffsetMetadata{name: {{Partition: 0, Offset: step.offset}}}, group))
		if step.commit {
			ok(t, p.CommitTxn())
		} else {
			ok(t, p.AbortTxn())
		}
		until(t, "the offset is committed", func() bool {
			offsets, err := a.ListConsumerGroupOffsets(group, map[string][]int32{name: {0}})
			ok(t, err)
			return offsets.GetBlock(name, 0).Offset == step.committed
		})
	}
	for _, value := range readAll(t, name, kafka.ReadCommitted, 20) {
		same(t, "value", "true", value)
	}
	readAll(t, name, kafka.ReadUncommitted, 30)
}

func TestANewerProducerFencesTheOlder(t *testing.T) {
	name, id := topic(t, 1), fresh("txn")
	begin := func(value string) kafka.SyncProducer {
		p := producer(t, transactional(id))
		ok(t, p.BeginTxn())
		_, _, err := p.SendMessage(message(name, 0, value))
		ok(t, err)
		return p
	}
	older := begin("of the older")
	newer := begin("of the newer")
	if err := older.CommitTxn(); err == nil {
		t.Fatal("the older producer committed")
	}
	ok(t, newer.CommitTxn())
	same(t, "value", "of the newer", readAll(t, name, kafka.ReadCommitted, 1)[0])
}

func TestAdminTopicsSettingsAndRecords(t *testing.T) {
	a, name := admin(t), topic(t, 2)
	ok(t, a.CreatePartitions(name, 3, nil, false))
	until(t, "the topic has grown", func() bool {
		described, err := a.DescribeTopics([]string{name})
		ok(t, err)
		return len(described[0].Partitions) == 3
	})
	value := "7200000"
	ok(t, a.IncrementalAlterConfig(kafka.TopicResource, name, map[string]kafka.IncrementalAlterConfigsEntry{
		"retention.ms": {Operation: kafka.IncrementalAlterConfigsOperationSet, Value: &value}}, false))
	until(t, "the setting has changed", func() bool {
		entries, err := a.DescribeConfig(kafka.ConfigResource{Type: kafka.TopicResource, Name: name, ConfigNames: []string{"retention.ms"}})
		ok(t, err)
		return entries[0].Value == value
	})
	produce(t, name, 1, 10, idempotent)
	ok(t, a.DeleteRecords(name, map[int32]int64{0: 4}))
	offsets, err := a.ListOffsets(map[string]map[int32]int64{name: {0: kafka.OffsetOldest}}, nil)
	ok(t, err)
	same(t, "first offset", 4, offsets[name][0].Offset)
	brokers, _, err := a.DescribeCluster()
	ok(t, err)
	same(t, "brokers", 1, len(brokers))
	ok(t, a.DeleteTopic(name))
	until(t, "the topic is gone", func() bool {
		topics, err := a.ListTopics()
		ok(t, err)
		_, there := topics[name]
		return !there
	})
}

func TestAdminGroups(t *testing.T) {
	a, name, group := admin(t), topic(t, 1), fresh("group")
	metadata := "by hand"
	_, err := a.AlterConsumerGroupOffsets(group, map[string]map[int32]kafka.OffsetAndMetadata{name: {0: {Offset: 7, LeaderEpoch: -1, Metadata: metadata}}}, nil)
	ok(t, err)
	offsets, err := a.ListConsumerGroupOffsets(group, map[string][]int32{name: {0}})
	ok(t, err)
	same(t, "offset", "7 by hand", fmt.Sprint(offsets.GetBlock(name, 0).Offset, " ", offsets.GetBlock(name, 0).Metadata))
	groups, err := a.ListConsumerGroups()
	ok(t, err)
	_, listed := groups[group]
	same(t, "listed", true, listed)
	described, err := a.DescribeConsumerGroups([]string{group})
	ok(t, err)
	same(t, "state", "Empty", described[0].State)
	ok(t, a.DeleteConsumerGroup(group))
}
