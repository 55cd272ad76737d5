//! Properties that hold for any input.

use bytes::Bytes;
use moldau_protocol::batch::{Compression, Record, RecordBatch, RecordBatchBuilder, RecordHeader};
use moldau_protocol::{ApiKey, Decoder, KString, RequestKind, ResponseKind, Uuid, frame};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn bytes() -> impl Strategy<Value = Option<Bytes>> {
    option::of(vec(any::<u8>(), 0..40).prop_map(Bytes::from))
}

fn headers() -> impl Strategy<Value = Vec<RecordHeader>> {
    vec(
        (".{0,8}", bytes()).prop_map(|(key, value)| RecordHeader {
            key: KString::from(key),
            value,
        }),
        0..4,
    )
}

fn records() -> impl Strategy<Value = Vec<Record>> {
    let record = (1..1_000i64, any::<i64>(), bytes(), bytes(), headers());
    vec(record, 0..50).prop_map(|records| {
        let mut offset = 0;
        let step = |(gap, timestamp, key, value, headers)| {
            offset += gap;
            Record {
                offset,
                timestamp,
                key,
                value,
                headers,
            }
        };
        records.into_iter().map(step).collect()
    })
}

fn codec() -> impl Strategy<Value = Compression> {
    prop::sample::select(Compression::ALL.to_vec())
}

proptest! {
    #[test]
    fn a_batch_gives_back_the_records_it_was_built_of(records in records(), codec in codec(), base in 0..i64::MAX / 2) {
        let mut builder = RecordBatchBuilder::new(codec).base_offset(base);
        let mut largest = 0;
        for record in &records {
            let (key, value) = (record.key.as_deref(), record.value.as_deref());
            let before = builder.estimated_size();
            builder.append_at(base + record.offset, record.timestamp, key, value, &record.headers).expect("ascending");
            let size = builder.estimated_size() - before;
            prop_assert!(size <= RecordBatchBuilder::size_of_record(key, value, &record.headers));
            largest = largest.max(record.timestamp);
        }
        let batch = RecordBatch::parse(builder.build()).expect("built batch");
        batch.verify_crc().expect("checksum");
        prop_assert_eq!(batch.record_count() as usize, records.len());
        let decoded: Vec<Record> = batch.records().expect("records").collect::<Result<_, _>>().expect("record");
        let moved: Vec<_> = records.into_iter().map(|record| Record { offset: base + record.offset, ..record }).collect();
        prop_assert_eq!(decoded, moved);
    }

    #[test]
    fn records_of_any_bytes_never_panic(payload in vec(any::<u8>(), 0..200), count in any::<i32>(), codec in codec()) {
        let mut builder = RecordBatchBuilder::new(codec);
        builder.append(0, None, Some(&payload), &[]);
        let mut header = RecordBatch::parse(builder.build()).expect("built batch").header().to_owned();
        header.record_count = count;
        header.batch_length = 49 + payload.len() as i32;
        let batch = RecordBatch::parse([&header.write(), &payload[..]].concat().into()).expect("lengths agree");
        if let Ok(records) = batch.records() {
            let _ = records.count();
        }
    }

    #[test]
    fn any_bytes_decode_to_an_error_or_a_message_that_is_encoded_again(
        payload in vec(any::<u8>(), 0..200),
        key in prop::sample::select(ApiKey::ALL.to_vec()),
        version in 0..20i16,
    ) {
        let payload = Bytes::from(payload);
        if let Ok(request) = RequestKind::decode(key, version, &mut Decoder::new(payload.clone())) {
            let mut output = moldau_protocol::Encoder::new();
            prop_assert!(request.encode(&mut output, version).is_ok());
        }
        if let Ok(response) = ResponseKind::decode(key, version, &mut Decoder::new(payload)) {
            let mut output = moldau_protocol::Encoder::new();
            prop_assert!(response.encode(&mut output, version).is_ok());
        }
    }

    #[test]
    fn any_frame_is_parsed_or_refused(frame in vec(any::<u8>(), 0..100)) {
        let _ = frame::parse_request(Bytes::from(frame));
    }

    #[test]
    fn the_text_of_an_id_is_read_back(id in any::<[u8; 16]>()) {
        prop_assert_eq!(Uuid(id).to_string().parse(), Ok(Uuid(id)));
    }
}
