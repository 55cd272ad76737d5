// Package franz checks franz-go against the endpoint in BOOTSTRAP.
package franz

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const limit = 60 * time.Second

func fresh(name string) string { return fmt.Sprintf("%s-%08x", name, rand.Uint32()) }

func client(t *testing.T, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	options = append([]kgo.Opt{kgo.SeedBrokers(os.Getenv("BOOTSTRAP")), kgo.MetadataMaxAge(time.Second), kgo.MetadataMinAge(100 * time.Millisecond)}, options...)
	cl, err := kgo.NewClient(options...)
	ok(t, err)
	t.Cleanup(cl.Close)
	return cl
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

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

func topic(t *testing.T, partitions int32) string {
	t.Helper()
	name := fresh("franz")
	_, err := kadm.NewClient(client(t)).CreateTopic(bounded(t), partitions, 1, nil, name)
	ok(t, err)
	return name
}

// record puts value into one partition of topic.
func record(topic string, partition int, value string) *kgo.Record {
	return &kgo.Record{Topic: topic, Partition: int32(partition), Key: []byte("key"), Value: []byte(value),
		Headers: []kgo.RecordHeader{{Key: "header", Value: []byte(value)}}}
}

func produce(t *testing.T, topic string, partitions, count int, options ...kgo.Opt) {
	t.Helper()
	options = append([]kgo.Opt{kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.UnknownTopicRetries(-1)}, options...)
	records := make([]*kgo.Record, count)
	for i := range records {
		records[i] = record(topic, i%partitions, fmt.Sprint(i))
	}
	ok(t, client(t, options...).ProduceSync(bounded(t), records...).FirstErr())
}

// readAll reads the one partition of topic up to what isolation lets see.
func readAll(t *testing.T, topic string, isolation kgo.IsolationLevel, count int) []string {
	t.Helper()
	cl := client(t, kgo.FetchIsolationLevel(isolation), kgo.KeepControlRecords(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))
	ends, err := kadm.NewClient(cl).ListEndOffsets(bounded(t), topic)
	ok(t, err)
	end, _ := ends.Lookup(topic, 0)
	var values []string
	for position := int64(0); position < end.Offset; {
		fetches := cl.PollFetches(bounded(t))
		ok(t, fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			position = r.Offset + 1
			if !r.Attrs.IsControl() {
				values = append(values, string(r.Value))
			}
		})
	}
	same(t, "records", count, len(values))
	return values
}

func TestRecordsComeBackWithEveryCodec(t *testing.T) {
	name := topic(t, 1)
	codecs := []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()}
	for _, codec := range codecs {
		produce(t, name, 1, 200, kgo.ProducerBatchCompression(codec))
	}
	for i, value := range readAll(t, name, kgo.ReadUncommitted(), 1000) {
		same(t, fmt.Sprint("value at ", i), fmt.Sprint(i%200), value)
	}
}

// member is one member of a group; its poll also keeps the assignment up to date.
type member struct {
	cl   *kgo.Client
	seen map[string]bool
}

func (m *member) poll(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	fetches := m.cl.PollFetches(ctx)
	if err := fetches.Err(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	fetches.EachRecord(func(r *kgo.Record) { m.seen[string(r.Value)] = true })
	ok(t, m.cl.CommitUncommittedOffsets(bounded(t)))
}

func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !condition(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

func TestTwoMembersShareATopic(t *testing.T) {
	for name, options := range map[string][]kgo.Opt{
		"classic range":      {kgo.Balancers(kgo.RangeBalancer())},
		"cooperative":        {kgo.Balancers(kgo.CooperativeStickyBalancer())},
		"consumer (KIP-848)": {kgo.Balancers(kgo.StickyBalancer()), kgo.ServerSideBalancer()},
	} {
		t.Run(name, func(t *testing.T) {
			twoMembersShareATopic(t, options)
		})
	}
}

func twoMembersShareATopic(t *testing.T, options []kgo.Opt) {
	name, group := topic(t, 4), fresh("group")
	produce(t, name, 4, 100)
	seen := map[string]bool{}
	join := func() *member {
		all := append([]kgo.Opt{kgo.ConsumerGroup(group), kgo.ConsumeTopics(name), kgo.DisableAutoCommit(),
			kgo.HeartbeatInterval(500 * time.Millisecond), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())}, options...)
		return &member{client(t, all...), seen}
	}
	admin := kadm.NewClient(client(t))
	committed := func() (sum int64) {
		offsets, err := admin.FetchOffsets(bounded(t), group)
		ok(t, err)
		offsets.Each(func(o kadm.OffsetResponse) { sum += o.At })
		return sum
	}
	first := join()
	partitions := func(m *member) []int32 { return assigned(t, admin, group, m.cl) }
	until(t, "the first member has all", func() bool { first.poll(t); return len(partitions(first)) == 4 })
	second := join()
	until(t, "both have two", func() bool {
		first.poll(t)
		second.poll(t)
		return len(partitions(first)) == 2 && len(partitions(second)) == 2
	})
	owned := append(partitions(first), partitions(second)...)
	slices.Sort(owned)
	same(t, "partitions", "[0 1 2 3]", fmt.Sprint(owned))
	second.cl.Close()
	until(t, "the first member has all again", func() bool { first.poll(t); return len(partitions(first)) == 4 })
	until(t, "all is read and committed", func() bool { first.poll(t); return len(seen) == 100 && committed() == 100 })
}

// assigned is what the broker says that this member owns.
func assigned(t *testing.T, admin *kadm.Client, group string, cl *kgo.Client) (partitions []int32) {
	id, _ := cl.GroupMetadata()
	if described, err := admin.DescribeConsumerGroups(bounded(t), group); err == nil && described[group].Err == nil {
		for _, m := range described[group].Members {
			if m.MemberID == id {
				m.Assignment.Each(func(_ string, p int32) { partitions = append(partitions, p) })
			}
		}
		return partitions
	}
	described, err := admin.DescribeGroups(bounded(t), group)
	ok(t, err)
	for _, m := range described[group].Members {
		if assignment, is := m.Assigned.AsConsumer(); is && m.MemberID == id {
			for _, topic := range assignment.Topics {
				partitions = append(partitions, topic.Partitions...)
			}
		}
	}
	return partitions
}

func TestReadCommittedSeesOnlyWhatWasCommitted(t *testing.T) {
	name, group := topic(t, 1), fresh("group")
	produce(t, name, 1, 3)
	session, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(os.Getenv("BOOTSTRAP")), kgo.TransactionalID(fresh("txn")),
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(name), kgo.RequireStableFetchOffsets(), kgo.FetchMaxBytes(1),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.UnknownTopicRetries(-1))
	ok(t, err)
	defer session.Close()
	sink, admin := topic(t, 1), kadm.NewClient(client(t))
	for _, outcome := range []kgo.TransactionEndTry{kgo.TryAbort, kgo.TryCommit} {
		for read := 0; read < 3; {
			fetches := session.PollRecords(bounded(t), 3)
			ok(t, fetches.Err())
			read += fetches.NumRecords()
		}
		ok(t, session.Begin())
		for i := range 10 {
			session.Produce(bounded(t), record(sink, 0, fmt.Sprint(bool(outcome), i)), nil)
		}
		ok(t, session.Client().Flush(bounded(t)))
		committed, err := session.End(bounded(t), outcome)
		ok(t, err)
		same(t, "committed", bool(outcome), committed)
		// EndTxn is answered before the markers are written: the offset follows.
		until(t, "offsets are committed as the transaction was", func() bool {
			offsets, err := admin.FetchOffsets(bounded(t), group)
			ok(t, err)
			_, found := offsets.Lookup(name, 0)
			return found == bool(outcome)
		})
	}
	for i, value := range readAll(t, sink, kgo.ReadCommitted(), 10) {
		same(t, "value", fmt.Sprint(true, i), value)
	}
	readAll(t, sink, kgo.ReadUncommitted(), 20)
}

func TestANewerProducerFencesTheOlder(t *testing.T) {
	name, id := topic(t, 1), fresh("txn")
	begin := func(value string) *kgo.Client {
		cl := client(t, kgo.TransactionalID(id), kgo.UnknownTopicRetries(-1))
		ok(t, cl.BeginTransaction())
		ok(t, cl.ProduceSync(bounded(t), record(name, 0, value)).FirstErr())
		return cl
	}
	older := begin("of the older")
	newer := begin("of the newer")
	err := older.EndTransaction(bounded(t), kgo.TryCommit)
	if !errors.Is(err, kerr.ProducerFenced) && !errors.Is(err, kerr.InvalidProducerEpoch) {
		t.Fatalf("the older producer got %v", err)
	}
	ok(t, newer.EndTransaction(bounded(t), kgo.TryCommit))
	same(t, "value", "of the newer", readAll(t, name, kgo.ReadCommitted(), 1)[0])
}

func TestAdminTopicsSettingsAndRecords(t *testing.T) {
	admin, name := kadm.NewClient(client(t)), topic(t, 2)
	_, err := admin.UpdatePartitions(bounded(t), 3, name)
	ok(t, err)
	until(t, "the topic has grown", func() bool {
		listed, err := admin.ListTopics(bounded(t), name)
		ok(t, err)
		return len(listed[name].Partitions) == 3
	})
	altered, err := admin.AlterTopicConfigs(bounded(t), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: kadm.StringPtr("7200000")}}, name)
	ok(t, err)
	ok(t, altered[0].Err)
	until(t, "the setting has changed", func() bool {
		described, err := admin.DescribeTopicConfigs(bounded(t), name)
		ok(t, err)
		i := slices.IndexFunc(described[0].Configs, func(c kadm.Config) bool { return c.Key == "retention.ms" })
		return described[0].Configs[i].MaybeValue() == "7200000"
	})
	produce(t, name, 1, 10)
	offsets := kadm.Offsets{}
	offsets.AddOffset(name, 0, 4, -1)
	_, err = admin.DeleteRecords(bounded(t), offsets)
	ok(t, err)
	starts, err := admin.ListStartOffsets(bounded(t), name)
	ok(t, err)
	start, _ := starts.Lookup(name, 0)
	same(t, "first offset", 4, start.Offset)
	_, err = admin.DeleteTopics(bounded(t), name)
	ok(t, err)
}

func TestAdminGroups(t *testing.T) {
	admin, name, group := kadm.NewClient(client(t)), topic(t, 1), fresh("group")
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: name, Partition: 0, At: 7, LeaderEpoch: -1, Metadata: "by hand"})
	until(t, "the group's coordinator knows the new topic", func() bool {
		err := admin.CommitAllOffsets(bounded(t), group, offsets)
		if !errors.Is(err, kerr.UnknownTopicOrPartition) {
			ok(t, err)
		}
		return err == nil
	})
	fetched, err := admin.FetchOffsets(bounded(t), group)
	ok(t, err)
	offset, _ := fetched.Lookup(name, 0)
	same(t, "offset", "7 by hand", fmt.Sprint(offset.At, " ", offset.Metadata))
	listed, err := admin.ListGroups(bounded(t))
	ok(t, err)
	same(t, "listed", true, slices.Contains(listed.Groups(), group))
	_, err = admin.DeleteGroup(bounded(t), group)
	ok(t, err)
}
