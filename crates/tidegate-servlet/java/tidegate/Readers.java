package tidegate;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Collections;
import java.util.Set;
import java.util.WeakHashMap;
import org.apache.catalina.Wrapper;
import org.apache.catalina.connector.CoyoteAdapter;
import org.apache.catalina.connector.Request;
import org.apache.catalina.mapper.Mapper;
import org.apache.catalina.mapper.MappingData;
import org.apache.tomcat.util.buf.MessageBytes;
import org.apache.tomcat.util.buf.UDecoder;

/**
 * Knows which servlets may be called before the content of their request is there.
 *
 * <p>A {@code ReadListener} is for them: it hears of content as it comes, and holds no thread meanwhile. Only asynchronous
 * servlets can have one. Many of these have none, and wait for content: for them it is collected, as for all others, from the
 * first time on that one had to wait.
 */
final class Readers {
    private final Set<Wrapper> waiting = Collections.synchronizedSet(Collections.newSetFromMap(new WeakHashMap<>()));
    /** Finds the servlet of a request; null before there was one, since only a request knows it. */
    private volatile Mapper mapper;

    /** Learns from a request that Catalina has seen. */
    void learn(org.apache.coyote.Request request) {
        if (mapper == null) {
            Request seen = (Request) request.getNote(CoyoteAdapter.ADAPTER_NOTES);
            if (seen != null) {
                mapper = seen.getConnector().getService().getMapper();
            }
        }
    }

    /** Notes that the servlet of this request waits for content. */
    void waits(org.apache.coyote.Request request) {
        Request seen = (Request) request.getNote(CoyoteAdapter.ADAPTER_NOTES);
        Wrapper wrapper = seen == null ? null : seen.getWrapper();
        if (wrapper != null) {
            waiting.add(wrapper);
        }
    }

    /** Whether a request to this host and path is to be passed on before its content is there. */
    boolean canBegin(String host, String path) {
        Mapper known = mapper;
        if (known == null) {
            return false;
        }
        MessageBytes name = MessageBytes.newInstance();
        name.setString(host.replaceFirst(":[0-9]*$", ""));
        MessageBytes decoded = MessageBytes.newInstance();
        MappingData found = new MappingData();
        try {
            // What Catalina would refuse is collected before it does.
            decoded.setString(UDecoder.URLDecode(path.replaceAll(";[^/]*", ""), StandardCharsets.UTF_8));
            known.map(name, decoded, null, found);
        } catch (IOException | IllegalArgumentException e) {
            return false;
        }
        return found.wrapper != null && found.wrapper.isAsyncSupported() && !waiting.contains(found.wrapper);
    }
}
